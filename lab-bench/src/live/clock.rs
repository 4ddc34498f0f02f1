//! The guest's clock counts executed instructions, one nanosecond each. While nothing runs, it
//! jumps to the next timer. So the time in which the processor did not sleep is the number of
//! executed instructions, and waiting until the guest is idle costs nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Longer than any tracer delays its output; tcpdump delays it for a second.
const IDLE_WAIT: Duration = Duration::from_secs(3);

/// Longer than closed connections stay in TIME_WAIT and slow down the search for a free port.
const TIME_WAIT: Duration = Duration::from_secs(61);

/// The kernel's slab caches (`mm/slub.c`).
const CACHES: &str = "/sys/kernel/slab";

/// Waits until no process has anything left to do.
pub(super) fn wait_until_idle() {
    thread::sleep(IDLE_WAIT);
}

/// Waits until the kernel has dropped earlier connections, then tidies the memory that they used.
pub(super) fn settle() -> Result<()> {
    thread::sleep(TIME_WAIT);
    // Frees empty slabs and sorts the others. When several are nearly full, objects are allocated
    // from one and freed to another on the slow path (`___slab_alloc`), 300 instructions each.
    for cache in fs::read_dir(CACHES).context("cannot list the kernel's slab caches")? {
        let cache = cache?;
        // A symbolic link is another name for a cache.
        if cache.file_type()?.is_dir() {
            let path = cache.path().join("shrink");
            fs::write(&path, "1").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// The instructions executed since boot by processes and interrupts, including interrupts that came
/// while the processor slept (`kernel/time/timer_list.c`).
pub(super) fn executed() -> Result<u64> {
    let text = fs::read_to_string("/proc/timer_list")?;
    parse_executed(&text).context("/proc/timer_list does not say how long the processor slept")
}

fn parse_executed(text: &str) -> Option<u64> {
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

    /// From Linux 6.1.
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
    fn sleep_time_is_subtracted() {
        assert_eq!(
            parse_executed(TIMERS),
            Some(61_283_957_020 - 57_160_442_716 - 1000)
        );
        assert_eq!(parse_executed(""), None);
    }
}
