//! What a guest boots from: a gzipped newc cpio archive.
//!
//! The kernel reads several concatenated archives as one: the binaries are packed
//! once, and what differs between guests is appended.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use cpio::newc;
use flate2::Compression;
use flate2::write::GzEncoder;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN_FILE: u32 = 0o100_644;
const SYMBOLIC_LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Builds one archive.
pub struct Archive {
    gzip: GzEncoder<Vec<u8>>,
    entries: u32,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            gzip: GzEncoder::new(Vec::new(), Compression::fast()),
            entries: 0,
        }
    }
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory, whose parent must be there.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, |header| header.mode(DIRECTORY), &[])
    }

    /// Adds a character device.
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let device = |header: newc::Builder| {
            let header = header.mode(CHARACTER_DEVICE);
            header.rdev_major(major).rdev_minor(minor)
        };
        self.entry(name, device, &[])
    }

    /// Packs a program of this machine.
    pub fn program(&mut self, name: &str, source: &Path) -> Result<()> {
        let content =
            std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.executable(name, &content)
    }

    /// Packs a program with this content.
    pub fn executable(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, |header| header.mode(EXECUTABLE), content)
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.entry(name, |header| header.mode(PLAIN_FILE), content.as_ref())
    }

    /// Adds a symbolic link to `target`.
    pub fn symbolic_link(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, |header| header.mode(SYMBOLIC_LINK), target.as_bytes())
    }

    /// Ends the archive, and returns it.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(newc::trailer(self.gzip)?.finish()?)
    }

    fn entry(
        &mut self,
        name: &str,
        describe: impl FnOnce(newc::Builder) -> newc::Builder,
        content: &[u8],
    ) -> Result<()> {
        // Files with the same inode number would be hard links to each other.
        self.entries += 1;
        let header = describe(newc::Builder::new(name).ino(self.entries).nlink(1));
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too big"))?;
        let mut writer = header.write(&mut self.gzip, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn archive_contains_its_entries() {
        let mut archive = Archive::new();
        archive.directory("dev").unwrap();
        archive.character_device("dev/console", 5, 1).unwrap();
        archive.file("cases", "blocked-1 kretprobe\n").unwrap();
        let packed = archive.finish().unwrap();

        let mut rest: Box<dyn std::io::Read> = Box::new(GzDecoder::new(packed.as_slice()));
        let mut seen = Vec::new();
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            let described = (entry.name().to_owned(), entry.mode(), entry.rdev_major());
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            seen.push((described, content));
            rest = reader.finish().unwrap();
        }
        let expected = [
            (("dev".to_owned(), DIRECTORY, 0), String::new()),
            (
                ("dev/console".to_owned(), CHARACTER_DEVICE, 5),
                String::new(),
            ),
            (
                ("cases".to_owned(), PLAIN_FILE, 0),
                "blocked-1 kretprobe\n".to_owned(),
            ),
        ];
        assert_eq!(seen, expected);
    }
}
