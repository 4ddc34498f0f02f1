//! Any bytes, read as a kernel log.
#![no_main]

use conn_cli::model::format::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| conn_cli_fuzz::check(Some(Format::KernelLog), data));
