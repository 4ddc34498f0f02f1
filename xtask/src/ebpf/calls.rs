//! Refuses objects whose programs call functions that are not inlined.

use anyhow::{Result, bail};
use object::elf::R_BPF_64_32;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
};

/// All our functions are inlined. A remaining call is one that the compiler generated, to
/// `memcpy` or `memset`: a loop over single bytes in the path of every connection.
pub(super) fn refuse(name: &str, object: &[u8]) -> Result<()> {
    let file = object::File::parse(object)?;
    for section in file.sections() {
        for (_, relocation) in section.relocations() {
            let is_call = matches!(
                relocation.flags(),
                RelocationFlags::Elf { r_type } if r_type == R_BPF_64_32
            );
            if let (true, RelocationTarget::Symbol(index)) = (is_call, relocation.target()) {
                let called = file.symbol_by_index(index)?.name()?.to_owned();
                bail!("{name}: {} calls {called}", section.name()?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = "../conn-cli/ebpf/x86_64/kprobe.o";

    #[test]
    fn committed_programs_contain_no_calls() {
        refuse("kprobe.o", &std::fs::read(OBJECT).unwrap()).unwrap();
    }

    #[test]
    fn object_with_a_call_is_refused() {
        let mut bytes = std::fs::read(OBJECT).unwrap();
        // The type is the lower half of the second word of a relocation, Elf64_Rel.
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let (at, _) = file
            .sections()
            .find(|section| {
                section
                    .name()
                    .is_ok_and(|name| name.starts_with(".relkprobe"))
            })
            .and_then(|section| section.file_range())
            .unwrap();
        let at = usize::try_from(at).unwrap() + 8;
        bytes[at..at + 4].copy_from_slice(&R_BPF_64_32.to_le_bytes());
        let error = refuse("kprobe.o", &bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("kprobe.o: kprobe/security_sock_graft calls"),
            "{error}"
        );
    }
}
