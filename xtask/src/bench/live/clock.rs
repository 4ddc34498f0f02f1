//! The guest's clock: it counts executed instructions, one nanosecond each, and while nothing
//! runs it leaps to the next timer. So the time that processes ran is what they executed, and
//! to wait until all is at rest costs nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Longer than anyone holds back what is to be shown; tcpdump, for a second.
const REST: Duration = Duration::from_secs(3);

/// As long as the kernel keeps the ends of connections, among which new ones look for a port.
const FORGOTTEN: Duration = Duration::from_secs(61);

/// Until nobody has anything to do.
pub(super) fn rest() {
    thread::sleep(REST);
}

/// Until the kernel has forgotten earlier connections.
pub(super) fn forget() {
    thread::sleep(FORGOTTEN);
}

/// What all processes have executed since boot: the time that the processor was not idle, as
/// far as those tell that do not run now.
pub(super) fn executed() -> Result<u64> {
    let text = fs::read_to_string("/proc/schedstat")?;
    let line = text.lines().find(|line| line.starts_with("cpu0 "));
    let field = line.and_then(|line| line.split(' ').nth(7));
    Ok(field.context("no cpu0 in /proc/schedstat")?.parse()?)
}
