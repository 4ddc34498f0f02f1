//! Compresses the eBPF objects that conn-cli embeds.

use std::io::Write as _;

use lzma_rust2::{XzOptions, XzWriter};

/// The bytes as an xz file. The same bytes give the same file.
pub(crate) fn compress(object: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(9)).expect("the options fit");
    writer.write_all(object).expect("memory is writable");
    writer.finish().expect("memory is writable")
}
