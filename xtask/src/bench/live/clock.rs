//! The guest's clock: it counts executed instructions, one nanosecond each, and while nothing
//! runs it leaps to the next timer. So the time that the processor did not sleep is what was
//! executed, and to wait until all is at rest costs nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Longer than anyone holds back what is to be shown; tcpdump, for a second.
const REST: Duration = Duration::from_secs(3);

/// As long as the kernel keeps the ends of connections, among which new ones look for a port.
const FORGOTTEN: Duration = Duration::from_secs(61);

/// The caches from which the kernel takes its objects (`mm/slub.c`).
const CACHES: &str = "/sys/kernel/slab";

/// Until nobody has anything to do.
pub(super) fn rest() {
    thread::sleep(REST);
}

/// Until the kernel has forgotten earlier connections, and the memory they had is in order.
pub(super) fn settle() -> Result<()> {
    thread::sleep(FORGOTTEN);
    // Gives back empty slabs and sorts the rest. Where several are nearly full, objects are taken
    // from one and given back to another the slow way (`___slab_alloc`), 300 instructions each.
    for cache in fs::read_dir(CACHES).context("the kernel does not list its caches")? {
        let cache = cache?;
        // A link is another name for a cache.
        if cache.file_type()?.is_dir() {
            let path = cache.path().join("shrink");
            fs::write(&path, "1").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// What has been executed since boot, by processes and by interrupts, also by those that have
/// come while the processor slept (`kernel/time/timer_list.c`).
pub(super) fn executed() -> Result<u64> {
    let text = fs::read_to_string("/proc/timer_list")?;
    since_boot(&text).context("/proc/timer_list does not tell how long the processor slept")
}

fn since_boot(text: &str) -> Option<u64> {
    let nanoseconds = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let number = line?.trim_start_matches([' ', ':']);
        number.strip_suffix(" nsecs")?.parse::<u64>().ok()
    };
    let slept = nanoseconds(".idle_sleeptime")? + nanoseconds(".iowait_sleeptime")?;
    nanoseconds("now at")?.checked_sub(slept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 prints it.
    const TIMERS: &str = "Timer List Version: v0.9
HRTIMER_MAX_CLOCK_BASES: 8
now at 61283957020 nsecs

cpu: 0
 clock 0:
  .base:       00000000c6b8c5b5
  .idle_exittime  : 61280085432 nsecs
  .idle_sleeptime : 57160442716 nsecs
  .iowait_sleeptime: 1000 nsecs
";

    #[test]
    fn what_was_not_slept_was_executed() {
        assert_eq!(
            since_boot(TIMERS),
            Some(61_283_957_020 - 57_160_442_716 - 1000)
        );
        assert_eq!(since_boot(""), None);
    }
}
