//! Removes from an object or a program what no loader reads; keeps its BTF.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Prefixes of section names. Most of a linked object is DWARF. The relocations of BTF
/// only repeat, for a linker, what the BTF already contains.
const DEBUG_SECTIONS: [&str; 3] = [".debug_", ".rel.debug_", ".rel.BTF"];

/// Removes what only a debugger reads, neither the kernel nor aya.
pub fn strip_debug(linked: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = DEBUG_SECTIONS
            .iter()
            .any(|prefix| name.starts_with(prefix.as_bytes()));
    }
    elf.delete_orphans();

    // LLVM puts the names of sections and of symbols into one section, which the builder
    // does not write.
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

    /// A minimal object with these sections.
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
    fn only_debug_sections_are_removed() {
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
    fn input_that_is_not_elf_is_refused() {
        assert!(strip_debug(b"not an ELF file").is_err());
    }
}
