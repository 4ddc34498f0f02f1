//! Takes the debug sections out of an object; its BTF stays.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// DWARF is most of an object as it is linked, and neither the kernel nor aya reads
/// it.
pub(super) fn strip_debug(linked: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    elf.delete_orphans();

    // LLVM keeps the names of sections and those of symbols in one section, which
    // the builder does not write.
    let names = elf.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;

    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}
