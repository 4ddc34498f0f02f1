//! The kernel's lockdown.

use std::{fs, path::Path};

const CONFIDENTIAL: &str = "[confidentiality]";

/// Whether the kernel is known to be locked down for confidentiality.
pub(super) fn is_confidential() -> bool {
    mode().is_some_and(|mode| mode.contains(CONFIDENTIAL))
}

fn mode() -> Option<String> {
    fs::read_to_string("/sys/kernel/security/lockdown").ok()
}

/// Whether the kernel is locked down for confidentiality; true if that cannot be read.
pub(super) fn may_be_confidential() -> bool {
    match mode() {
        Some(mode) => mode.contains(CONFIDENTIAL),
        // Where securityfs is mounted, the file is missing because the kernel has no lockdown.
        None => !Path::new("/sys/kernel/security/lsm").exists(),
    }
}
