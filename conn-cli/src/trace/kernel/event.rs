//! Decodes the records of the ring buffer into connections.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use conn_common::{
    AF_INET, AF_INET6, Address, Event, HOOK_KPROBE, STAGE_ACCEPTED, STAGE_ESTABLISHED, STAGE_SYN,
    TASK_KERNEL, TASK_UNKNOWN, UNKNOWN_WAIT, to_v4,
};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::model::connection::{Connection, Family, Host, Process, Source, When};
use crate::model::hook::Hook;
use crate::model::stage::Stage;

/// How far the wall clock is ahead of `CLOCK_BOOTTIME`, the clock of the events' timestamps.
/// It changes when the wall clock is set, so it is read again for every batch.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    ahead_ns: i64,
}

impl WallClock {
    /// The current difference. `boot_clock_ahead_ns`: that of the two clocks of boot, see
    /// [`boot_clock_ahead_ns`].
    #[must_use]
    pub fn now(boot_clock_ahead_ns: i64) -> Self {
        // The mean of two readings: an interruption between readings shifts the times less.
        let before = read(ClockId::Boottime);
        let wall = read(ClockId::Realtime);
        let after = read(ClockId::Boottime);
        Self {
            ahead_ns: wall - (before + (after - before) / 2) + boot_clock_ahead_ns,
        }
    }

    /// That difference in nanoseconds.
    pub(super) fn ahead_ns(self) -> i64 {
        self.ahead_ns
    }

    /// The wall clock's time at this one of the kernel's clock of boot, before boot a negative one.
    pub(super) fn at(self, boot_ns: i64) -> Option<Timestamp> {
        let wall = self.ahead_ns.checked_add(boot_ns)?;
        let (second, nanosecond) = (
            wall.div_euclid(NANOS_PER_SECOND),
            wall.rem_euclid(NANOS_PER_SECOND),
        );
        Timestamp::new(second, nanosecond as i32).ok()
    }
}

/// How far the `CLOCK_BOOTTIME` of this process is ahead of the kernel's, which stamps events: 0 but in
/// a time namespace. `event_ns` is the time of a self-test's event that was just seen, or 0: then what
/// the namespace is said to add is believed.
pub(super) fn boot_clock_ahead_ns(event_ns: u64) -> i64 {
    let said = fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| said_ahead(&text));
    let measured = read(ClockId::Boottime).saturating_sub_unsigned(event_ns);
    let agrees = (measured - said).abs() < MAX_DELAY_NS;
    if event_ns == 0 || agrees {
        said
    } else {
        measured
    }
}

/// The line of the clock of boot: `boottime 100000 0`, in seconds and nanoseconds.
fn said_ahead(offsets: &str) -> i64 {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    let mut next = || {
        numbers
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    };
    let (seconds, nanoseconds): (i64, i64) = (next(), next());
    seconds
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(nanoseconds)
}

/// More than the time from a self-test's event until conn-cli reads it, unless it is stopped.
const MAX_DELAY_NS: i64 = 10 * NANOS_PER_SECOND;

/// The time of the kernel's clock of boot, in nanoseconds.
pub(super) fn kernel_boot_ns(boot_clock_ahead_ns: i64) -> i64 {
    read(ClockId::Boottime) - boot_clock_ahead_ns
}

/// A clock's time in nanoseconds.
fn read(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * NANOS_PER_SECOND + time.tv_nsec
}

/// Nanoseconds per second. Nanoseconds in an i64 last until the year 2262.
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Decodes one record. None if it is not a complete and valid event.
#[must_use]
#[inline]
pub fn decode(record: &[u8], clock: WallClock) -> Option<Connection> {
    let event: Event = bytemuck::try_pod_read_unaligned(record).ok()?;
    let source = match event.hook {
        HOOK_KPROBE => Source::SecondHook,
        code => Source::Hook(Hook::from_code(code)?),
    };
    let process = Process {
        // Id 0 means none: the idle task never accepts.
        pid: (event.tgid != 0).then_some(event.tgid),
        tid: (event.pid != 0).then_some(event.pid),
        uid: Some(event.uid),
        cgroup: Some(event.cgroup),
        comm: Some(event.comm),
        is_kernel_thread: event.task == TASK_KERNEL,
    };
    Some(Connection {
        time: When::At(clock.at(i64::try_from(event.time_ns).ok()?)?),
        remote: host(event.remote_address),
        remote_port: Some(event.remote_port),
        local: host(event.local_address),
        local_port: Some(event.local_port),
        family: Some(match event.family.into() {
            AF_INET => Family::Ipv4,
            AF_INET6 => Family::Ipv6,
            _ => return None,
        }),
        process: (event.task != TASK_UNKNOWN).then_some(process),
        netns: (event.netns != 0).then_some(event.netns),
        wait: (event.wait_ns != UNKNOWN_WAIT).then(|| Duration::from_nanos(event.wait_ns)),
        source,
        machine: None,
    })
}

/// The `STAGE_` constant of a stage.
pub(super) fn stage_number(stage: Stage) -> u32 {
    match stage {
        Stage::Syn => STAGE_SYN,
        Stage::Established => STAGE_ESTABLISHED,
        Stage::Accepted => STAGE_ACCEPTED,
    }
}

/// Converts an address to the programs' representation.
pub(super) fn words(address: IpAddr) -> Address {
    let mapped = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    bytemuck::cast(mapped.octets())
}

/// Converts an address from the programs' representation.
#[must_use]
pub(super) fn host(words: Address) -> Host {
    Host::Address(match to_v4(words) {
        Some(address) => Ipv4Addr::from(u32::from_be(address)).into(),
        None => Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(words)).into(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use conn_common::{HOOK_FENTRY, HOOK_KRETPROBE, HOOK_TRACEPOINT, TASK_PROCESS};

    use super::*;

    const CLOCK: WallClock = WallClock {
        ahead_ns: 1_395_029_583 * NANOS_PER_SECOND,
    };

    fn event() -> Event {
        Event {
            time_ns: 2_000_000_003,
            cgroup: 77,
            wait_ns: 51_000_000,
            remote_address: bytemuck::cast(
                "::ffff:192.0.2.1"
                    .parse::<std::net::Ipv6Addr>()
                    .unwrap()
                    .octets(),
            ),
            local_address: bytemuck::cast(
                "2001:db8::5"
                    .parse::<std::net::Ipv6Addr>()
                    .unwrap()
                    .octets(),
            ),
            comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
            pid: 12,
            tgid: 11,
            uid: 33,
            netns: 4_026_531_840,
            remote_port: 40000,
            local_port: 80,
            family: AF_INET6 as u8,
            task: TASK_PROCESS,
            hook: HOOK_KRETPROBE,
        }
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic           5000         0\nboottime         -100000       500\n";
        assert_eq!(said_ahead(offsets), -100_000 * NANOS_PER_SECOND + 500);
        assert_eq!(said_ahead(""), 0);
    }

    #[test]
    fn a_record_becomes_a_connection() {
        let connection = decode(bytemuck::bytes_of(&event()), CLOCK).unwrap();
        let time = "2014-03-17T04:13:05.000000003Z".parse().unwrap();
        assert_eq!(connection.time, When::At(time));
        assert_eq!(connection.remote.to_string(), "192.0.2.1");
        assert_eq!(connection.remote_port, Some(40000));
        assert_eq!(connection.local.to_string(), "2001:db8::5");
        assert_eq!(connection.local_port, Some(80));
        assert_eq!(connection.family, Some(Family::Ipv6));
        assert_eq!(connection.netns, Some(4_026_531_840));
        assert_eq!(connection.wait, Some(Duration::from_millis(51)));
        let process = connection.process.unwrap();
        assert_eq!((process.pid, process.tid), (Some(11), Some(12)));
        assert!(!process.is_kernel_thread);
        assert_eq!((process.uid, process.cgroup), (Some(33), Some(77)));
        assert_eq!(process.name().as_deref(), Some("nginx"));
    }

    #[test]
    fn tracepoint_events_have_no_process() {
        let event = Event {
            hook: HOOK_TRACEPOINT,
            task: TASK_UNKNOWN,
            netns: 0,
            wait_ns: UNKNOWN_WAIT,
            ..event()
        };
        let connection = decode(bytemuck::bytes_of(&event), CLOCK).unwrap();
        assert_eq!((connection.process, connection.netns), (None, None));
        assert_eq!(connection.wait, None);
    }

    #[test]
    fn a_task_of_another_pid_namespace_has_no_ids() {
        let event = Event {
            tgid: 0,
            pid: 0,
            task: TASK_KERNEL,
            ..event()
        };
        let connection = decode(bytemuck::bytes_of(&event), CLOCK).unwrap();
        let process = connection.process.unwrap();
        assert_eq!((process.pid, process.tid), (None, None));
        assert_eq!(process.uid, Some(33));
        assert!(process.is_kernel_thread);
    }

    #[test]
    fn events_without_details_have_no_process() {
        let event = Event {
            task: TASK_UNKNOWN,
            pid: 0,
            tgid: 0,
            uid: 0,
            cgroup: 0,
            comm: [0; 16],
            netns: 0,
            ..event()
        };
        let connection = decode(bytemuck::bytes_of(&event), CLOCK).unwrap();
        assert_eq!((connection.process, connection.netns), (None, None));
        assert_eq!(connection.source, Source::Hook(Hook::Kretprobe));
    }

    #[test]
    fn invalid_records_give_none() {
        let good = event();
        let bytes = bytemuck::bytes_of(&good);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length], CLOCK), None, "{length} bytes");
        }
        assert_eq!(decode(&[bytes, &[0]].concat(), CLOCK), None);
        for bad in [
            Event { hook: 0, ..good },
            Event { hook: 99, ..good },
            Event { family: 1, ..good },
            Event {
                time_ns: u64::MAX,
                ..good
            },
        ] {
            assert_eq!(decode(bytemuck::bytes_of(&bad), CLOCK), None, "{bad:?}");
        }
    }

    #[test]
    fn any_bytes_decode_without_panic() {
        // A small xorshift generator: every byte value at every offset.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut record = [0_u8; size_of::<Event>()];
        for _ in 0..20_000 {
            for byte in &mut record {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state as u8;
            }
            // A valid hook and family, so that decoding gets past them.
            record[94..96].copy_from_slice(&HOOK_FENTRY.to_ne_bytes());
            record[92] = AF_INET6 as u8;
            record[93] = TASK_PROCESS;
            if let Some(connection) = decode(&record, CLOCK) {
                let process = connection.process.unwrap();
                let name = process.name().unwrap();
                assert!(!name.chars().any(char::is_control), "{name:?}");
            }
        }
    }

    #[test]
    fn converted_times_match_the_system_clock() {
        let boot = clock_gettime(ClockId::Boottime);
        let boot_ns = boot.tv_sec * NANOS_PER_SECOND + boot.tv_nsec;
        let before = Timestamp::now();
        let time = WallClock::now(0).at(boot_ns).unwrap();
        let difference = time.duration_since(before).abs();
        assert!(difference < SignedDuration::from_secs(1), "{difference:?}");
    }
}
