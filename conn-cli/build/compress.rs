//! Compresses the eBPF objects that conn-cli embeds.

use std::io::Write as _;

use lzma_rust2::{CheckType, XzOptions, XzWriter};

/// The bytes as an xz file. The same bytes give the same file.
pub(crate) fn compress(object: &[u8]) -> Vec<u8> {
    let mut options = XzOptions::with_preset(9);
    // What starts often does not check what it has been built with.
    options.set_check_sum_type(CheckType::None);
    let mut writer = XzWriter::new(Vec::new(), options).expect("the options fit");
    writer.write_all(object).expect("memory is writable");
    writer.finish().expect("memory is writable")
}
