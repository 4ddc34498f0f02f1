//! What the programs are told for `--over`, and what they tell.
//!
//! Intervals are those of the wall clock as it is at the start. The programs count time by the clock of boot, so
//! intervals go on as they were if the wall clock is set, as the rows of `--interval` do; the times that are
//! shown are those of the wall clock as it is then.

use std::time::Duration;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{LpmTrie, lpm_trie},
};
use conn_common::{OVER_OFF, OverConfig, OverCounters, OverEvent};
use ipnet::IpNet;
use jiff::{Timestamp, TimestampRound, Unit, tz::TimeZone};

use super::{
    counters,
    event::{WallClock, boot_clock_ahead_ns, kernel_boot_ns, stage_number, words},
    mapping::Mapping,
    names,
    settings::Settings,
    totals::group_key,
};
use crate::model::{
    group::{GroupBy, GroupKey, Grouping},
    names::NetworkNames,
    over::{Over, OverEnd, OverGaps, OverLimit},
    stage::Stage,
};

/// How late a report may arrive and still be of the interval that ended last.
const GRACE: Duration = Duration::from_millis(50);

const DAY: Duration = Duration::from_hours(24);

/// The intervals of `--over`, by the kernel's clock of boot.
#[derive(Clone, Copy, Debug)]
pub struct OverClock {
    limit: OverLimit,
    length_ns: u64,
    /// What is added to that clock, see [`OverConfig::offset_ns`].
    offset_ns: u64,
}

/// Where the programs' reports are made sense of.
#[derive(Debug)]
pub(super) struct OverWatch {
    clock: OverClock,
    by: Grouping,
    counters: Mapping<OverCounters>,
}

impl OverClock {
    /// The intervals of the clock in this time zone.
    #[must_use]
    pub fn begin(limit: OverLimit, zone: &TimeZone) -> Self {
        let wall_ns = WallClock::now(boot_clock_ahead_ns(0)).ahead_ns();
        let zone = zone.to_offset(Timestamp::now());
        Self::new(limit, wall_ns, zone.seconds().into())
    }

    /// `wall_ns`: how far the wall clock is ahead of that of boot; `zone`: local time, in seconds, of UTC.
    fn new(limit: OverLimit, wall_ns: i64, zone: i64) -> Self {
        // Others have no midnight, and count from 1970 as those of --interval do.
        let divides_day = DAY.as_secs().is_multiple_of(limit.length().as_secs());
        let zone = if divides_day { zone } else { 0 };
        Self {
            limit,
            length_ns: limit.length().as_nanos() as u64,
            offset_ns: (wall_ns + zone * 1_000_000_000) as u64,
        }
    }

    /// The number of the interval at this time of boot.
    fn number(self, boot_ns: i64) -> u64 {
        (boot_ns as u64).wrapping_add(self.offset_ns) / self.length_ns
    }

    /// When that begins; before boot it is negative.
    fn start_ns(self, number: u64) -> i64 {
        (number * self.length_ns).wrapping_sub(self.offset_ns) as i64
    }

    /// What the programs are told.
    pub(super) fn config(this: Option<Self>, by: Grouping, counted: Stage) -> OverConfig {
        const ALL: [u64; 2] = [u64::MAX; 2];
        let Some(this) = this else {
            return OverConfig::OFF;
        };
        let (mask_v4, mask_v6) = match by.what() {
            GroupBy::Network(v4, v6) => (mask(96 + v4), mask(v6)),
            GroupBy::Port => ([0; 2], [0; 2]),
            GroupBy::Address
            | GroupBy::Name(_)
            | GroupBy::Process
            | GroupBy::Cgroup
            | GroupBy::User => (ALL, ALL),
        };
        let has_port = by.with_port() || by.what() == GroupBy::Port;
        OverConfig {
            mask_v4,
            mask_v6,
            port_mask: if has_port { u64::MAX } else { 0 },
            offset_ns: this.offset_ns,
            length_ns: this.length_ns,
            limit: this.limit.connections(),
            stage: stage_number(counted),
            by_name: matches!(by.what(), GroupBy::Name(_)).into(),
            padding: 0,
        }
    }
}

const _: () = assert!(OverConfig::OFF.stage == OVER_OFF);

/// The first bits of an address, as the programs have it.
fn mask(bits: u8) -> [u64; 2] {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    bytemuck::cast(mask.to_be_bytes())
}

/// The most pairs of name and port for which there is room in any case: of names, there are few.
const NAMED: u32 = 16_384;

/// How many keys are counted at most.
pub(super) fn entries(settings: &Settings) -> u32 {
    match settings.by.what() {
        GroupBy::Name(_) => settings.sizes.max_clients.max(NAMED),
        _ => settings.sizes.max_clients,
    }
}

/// The names of networks that the programs look up.
pub(super) fn named(by: Grouping) -> &'static [(IpNet, usize)] {
    match by.what() {
        GroupBy::Name(names) => names.networks(),
        _ => &[],
    }
}

/// Tells the programs these networks.
///
/// # Errors
/// An error of the kernel.
pub(super) fn set_names(ebpf: &mut Ebpf, networks: &[(IpNet, usize)]) -> anyhow::Result<()> {
    if networks.is_empty() {
        return Ok(());
    }
    let map = ebpf.map_mut(names::OVER_NAMES).context("no such map")?;
    let mut map = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
    for (network, index) in networks {
        let before = match network {
            IpNet::V4(_) => 96,
            IpNet::V6(_) => 0,
        };
        let bits = before + u32::from(network.prefix_len());
        let address: [u8; 16] = bytemuck::cast(words(network.network()));
        map.insert(&lpm_trie::Key::new(bits, address), *index as u32, 0)?;
    }
    Ok(())
}

impl OverWatch {
    /// # Errors
    /// An error of the system.
    pub(super) fn new(ebpf: &Ebpf, clock: OverClock, by: Grouping) -> anyhow::Result<Self> {
        let slots = counters::slots() as usize;
        Ok(Self {
            clock,
            by,
            counters: Mapping::new(ebpf, names::OVER_COUNTERS, slots)?,
        })
    }

    /// Decodes a record. None if it is not one of these.
    pub(super) fn decode(&self, record: &[u8], wall: WallClock) -> Option<Over> {
        let event: OverEvent = bytemuck::try_pod_read_unaligned(record).ok()?;
        Some(Over {
            key: self.key(&event)?,
            limit: self.clock.limit,
            time: wall.at(i64::try_from(event.time_ns).ok()?)?,
            interval: event.interval,
            start: rounded(wall.at(self.clock.start_ns(event.interval))?),
            connections: Some(event.connections),
        })
    }

    fn key(&self, event: &OverEvent) -> Option<GroupKey> {
        let port = Some(event.key.local_port as u16);
        Some(match self.by.what() {
            GroupBy::Name(names) => {
                let name = name(names, event.key.group[0])?;
                self.by.paired(GroupKey::Name(name), port)
            }
            what => self.by.group(group_key(&event.key, what), port),
        })
    }

    /// The interval that has ended last, and some time ago, so that what was reported in it has arrived.
    pub(super) fn ended(&self, boot_clock_ahead_ns: i64) -> Option<OverEnd> {
        let now = kernel_boot_ns(boot_clock_ahead_ns) - GRACE.as_nanos() as i64;
        let next = self.clock.number(now);
        let interval = next.checked_sub(1)?;
        let wall = WallClock::now(boot_clock_ahead_ns);
        let at = |number| wall.at(self.clock.start_ns(number)).map(rounded);
        Some(OverEnd {
            interval,
            limit: self.clock.limit,
            period: (at(interval)?, at(next)?),
        })
    }

    /// The time until [`Self::ended`] is another one.
    pub(super) fn left(&self, boot_clock_ahead_ns: i64) -> Duration {
        let now = kernel_boot_ns(boot_clock_ahead_ns) - GRACE.as_nanos() as i64;
        let end = self.clock.start_ns(self.clock.number(now) + 1);
        Duration::from_nanos(u64::try_from(end - now).unwrap_or(0))
    }

    /// What could not be counted or told so far.
    pub(super) fn gaps(&self) -> OverGaps {
        let add = |sum: OverCounters, one: OverCounters| OverCounters {
            not_counted: sum.not_counted + one.not_counted,
            delayed: sum.delayed + one.delayed,
            told_later: sum.told_later + one.told_later,
            padding: [0; 5],
        };
        let sum = { self.counters.each(|slot| slot) }.fold(OverCounters::default(), add);
        OverGaps {
            not_counted: sum.not_counted,
            not_told: sum.delayed.saturating_sub(sum.told_later),
        }
    }
}

fn name(names: &'static NetworkNames, index: u64) -> Option<&'static str> {
    let name = names.names().get(usize::try_from(index).ok()?)?;
    Some(name)
}

/// The start of an interval is in whole seconds, but the clocks are not read in the same moment.
fn rounded(start: Timestamp) -> Timestamp {
    start
        .round(TimestampRound::new().smallest(Unit::Millisecond))
        .unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn clock(length: Duration, wall_ns: i64, zone: i64) -> OverClock {
        OverClock::new(OverLimit::new(100, length).unwrap(), wall_ns, zone)
    }

    #[test]
    fn intervals_are_those_of_the_clock() {
        let minute = Duration::from_secs(60);
        // Booted at 14:25:30.
        let boot: Timestamp = "2026-11-22T14:25:30Z".parse().unwrap();
        let wall_ns = boot.as_second() * SECOND;
        let minutes = clock(minute, wall_ns, 3600);
        let first = minutes.number(0);
        assert_eq!(minutes.start_ns(first), -30 * SECOND);
        assert_eq!(minutes.number(30 * SECOND - 1), first);
        assert_eq!(minutes.number(30 * SECOND), first + 1);
        assert_eq!(minutes.start_ns(first + 1), 30 * SECOND);
        // Midnight is that of the time zone.
        let days = clock(DAY, wall_ns, 3600);
        let midnight: Timestamp = "2026-11-22T00:00:00+01:00".parse().unwrap();
        let since = boot.duration_since(midnight).as_secs();
        assert_eq!(days.start_ns(days.number(5)), -since * SECOND);
        // Seven hours have none.
        let hours = clock(Duration::from_hours(7), wall_ns, 3600);
        let start = boot.as_second() + hours.start_ns(hours.number(5)) / SECOND;
        assert_eq!(start % (7 * 3600), 0);
    }

    #[test]
    fn a_number_has_room_in_half_a_word() {
        let seconds = clock(Duration::from_secs(1), 0, 0);
        let last: Timestamp = "2106-02-07T06:28:15Z".parse().unwrap();
        assert_eq!(
            seconds.number(last.as_second() * SECOND),
            u64::from(u32::MAX)
        );
    }

    #[test]
    fn masks_leave_the_network() {
        let config = |by: &str| {
            let by = by.parse().unwrap();
            let clock = clock(DAY, 0, 0);
            OverClock::config(Some(clock), by, Stage::Accepted)
        };
        let masked = |address: &str, mask: [u64; 2]| {
            let [first, second] = words(address.parse().unwrap());
            let bytes: [u8; 16] = bytemuck::cast([first & mask[0], second & mask[1]]);
            IpAddr::from(bytes).to_canonical().to_string()
        };
        let networks = config("network/20,/50");
        assert_eq!(masked("192.0.255.9", networks.mask_v4), "192.0.240.0");
        assert_eq!(
            masked("2001:db8:1:ffff::9", networks.mask_v6),
            "2001:db8:1:c000::"
        );
        let all = config("network/0,/0,port");
        assert_eq!((all.mask_v6, all.port_mask), ([0; 2], u64::MAX));
        assert_eq!(masked("192.0.2.9", all.mask_v4), "0.0.0.0");
        let one = config("network/32,/128");
        assert_eq!((one.mask_v4, one.mask_v6), ([u64::MAX; 2], [u64::MAX; 2]));
        let port = config("port");
        assert_eq!(
            (port.mask_v4, port.mask_v6, port.port_mask),
            ([0; 2], [0; 2], u64::MAX)
        );
        assert_eq!(config("address").port_mask, 0);
        assert_eq!(config("user,port").port_mask, u64::MAX);
    }
}
