//! Any bytes, in whichever format they are recognised as.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| conn_cli_fuzz::check(None, data));
