//! Takes out of an object, or a program, what no loader reads; its BTF stays.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Sections by the beginning of their names. DWARF is most of an object as it is linked.
/// The relocations of BTF only repeat, for a linker, what stands in it already.
const NOT_READ: [&str; 3] = [".debug_", ".rel.debug_", ".rel.BTF"];

/// Neither the kernel nor aya reads [`NOT_READ`]; only a debugger does.
pub(crate) fn strip_debug(linked: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = NOT_READ.iter().any(|not| name.starts_with(not.as_bytes()));
    }
    elf.delete_orphans();

    // LLVM keeps the names of sections and those of symbols in one section, which the
    // builder does not write.
    let is_names = |data: &SectionData<'_>| matches!(data, SectionData::SectionString);
    if !elf.sections.iter().any(|section| is_names(&section.data)) {
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }

    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::Endianness;
    use object::elf::{EM_BPF, ET_REL, SHT_PROGBITS};

    use super::*;

    /// An object with these sections, as far as stripping goes.
    fn linked(names: &[&'static str]) -> Vec<u8> {
        let mut elf = Builder::new(Endianness::Little, true);
        elf.header.e_type = ET_REL;
        elf.header.e_machine = EM_BPF;
        for &name in names {
            let section = elf.sections.add();
            section.name = name.into();
            section.sh_type = SHT_PROGBITS;
            section.sh_addralign = 1;
        }
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
        let mut bytes = Vec::new();
        elf.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn only_what_is_not_read_goes() {
        let linked = linked(&[
            "kprobe",
            ".debug_info",
            ".BTF",
            ".BTF.ext",
            ".rel.BTF",
            ".rel.BTF.ext",
            ".rel.debug_info",
        ]);
        let stripped = strip_debug(&linked).unwrap();
        let elf = Builder::read(stripped.as_slice()).unwrap();
        let names: Vec<_> = elf
            .sections
            .iter()
            .map(|section| section.name.to_string())
            .collect();
        assert_eq!(names, ["kprobe", ".BTF", ".BTF.ext", ".shstrtab"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(strip_debug(b"not an ELF file").is_err());
    }
}
