//! Any bytes as whatever they are taken for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| conn_cli_fuzz::check(None, data));
