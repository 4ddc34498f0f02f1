//! Any bytes, read as the output of strace.
#![no_main]

use conn_cli::model::format::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| conn_cli_fuzz::check(Some(Format::Strace), data));
