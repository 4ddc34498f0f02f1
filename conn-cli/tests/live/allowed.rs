//! What this machine allows: whether it can run a case at all.

use rustix::thread::{CapabilitySet, capabilities};

/// If this variable is `ignore`, every case is ignored.
const VARIABLE: &str = "LIVE_CASES";

/// Why this machine can run no case, if so.
pub(crate) fn refusal() -> Option<String> {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "ignore") {
        return Some(format!("{VARIABLE}=ignore"));
    }
    let is_root =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !is_root {
        return Some("they need root, with all capabilities".to_owned());
    }
    None
}
