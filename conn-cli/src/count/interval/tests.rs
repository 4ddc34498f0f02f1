use crate::count::interval::*;

const LENGTH: Duration = Duration::from_secs(10);

/// Milliseconds after 2026-11-22T14:25:30Z.
fn at(millis: i64) -> Timestamp {
    timestamp(1_795_357_530_000 + millis)
}

fn client(number: u8) -> Host {
    Host::at([192, 0, 2, number])
}

fn live(now: i64) -> Intervals {
    Intervals::begin(LENGTH, at(now), TimeZone::UTC)
}

fn records(first: i64) -> Intervals {
    Intervals::containing(LENGTH, at(first), TimeZone::UTC)
}

/// The start and the number of connections of each.
fn counts(intervals: &[Interval]) -> Vec<(i64, u64)> {
    let since = |interval: &Interval| millis(interval.start) - millis(at(0));
    let counts = intervals
        .iter()
        .map(|interval| (since(interval), interval.connections));
    counts.collect()
}

#[test]
fn first_and_last_interval_are_partial() {
    let mut intervals = live(7_482);
    intervals.add(at(8_000), &client(1));
    assert_eq!(intervals.roll(at(9_999)), []);
    let first = intervals.roll(at(10_000));
    assert_eq!(counts(&first), [(7_482, 1)]);
    assert_eq!(first[0].length, Duration::from_millis(2_518));
    assert!(first[0].partial);
    intervals.add(at(15_000), &client(1));
    let last = intervals.finish(at(23_200));
    assert_eq!(counts(&last), [(10_000, 1), (20_000, 0)]);
    assert_eq!(last[0].length, LENGTH);
    assert!(!last[0].partial && last[1].partial);
    assert_eq!(last[1].length, Duration::from_millis(3_200));
}

#[test]
fn whole_interval_is_not_partial() {
    let intervals = live(10_000);
    let last = intervals.finish(at(20_000));
    assert_eq!(counts(&last), [(10_000, 0)]);
    assert!(!last[0].partial);
    assert_eq!(live(10_000).finish(at(10_000)), []);
    assert_eq!(live(7_482).finish(at(7_482)), []);
}

#[test]
fn clients_and_the_busiest_are_counted() {
    let mut intervals = records(0);
    for number in [9, 10, 3, 10, 9, 7] {
        intervals.add(at(1), &client(number));
    }
    intervals.add(at(2), &Host::Unknown);
    intervals.add(at(2), &Host::Unknown);
    intervals.add(at(2), &Host::Unknown);
    intervals.add_lost(12);
    let interval = intervals.finish_whole().unwrap();
    assert_eq!((interval.connections, interval.lost), (21, 12));
    assert_eq!(interval.addresses, 4);
    assert_eq!(interval.busiest, Some((client(9), 2)));
    assert!((interval.rate() - 2.1).abs() < 1e-9);
    assert_eq!(interval.length, LENGTH);
    assert!(!interval.partial);
}

#[test]
fn empty_intervals_are_returned_too() {
    let mut intervals = records(0);
    intervals.add(at(0), &client(1));
    let ended = intervals.roll(at(35_000));
    assert_eq!(counts(&ended), [(0, 1), (10_000, 0), (20_000, 0)]);
    assert_eq!(ended[1].busiest, None);
    assert_eq!(ended[1].rate(), 0.0);
    intervals.add(at(35_000), &client(1));
    let last = intervals.finish_whole().unwrap();
    assert_eq!(counts(&[last]), [(30_000, 1)]);
    assert_eq!(records(0).finish_whole(), None);
}

#[test]
fn connection_after_the_end_counts_in_the_next_interval() {
    let mut intervals = live(0);
    intervals.add(at(9_999), &client(1));
    intervals.add(at(10_000), &client(2));
    assert_eq!(intervals.roll(at(9_970)), []);
    intervals.add(at(9_999), &client(3));
    let ended = intervals.roll(at(10_001));
    assert_eq!(counts(&ended), [(0, 2)]);
    assert_eq!(ended[0].busiest, Some((client(1), 1)));
    assert_eq!(counts(&intervals.finish(at(20_000))), [(10_000, 1)]);
}

#[test]
fn finish_returns_all_remaining_connections() {
    let mut intervals = live(0);
    intervals.add(at(10_010), &client(1));
    let last = intervals.clone().finish(at(10_020));
    assert_eq!(counts(&last), [(0, 0), (10_000, 1)]);
    // The clock was set back meanwhile.
    assert_eq!(counts(&intervals.finish(at(9_000))), [(0, 1)]);
}

#[test]
fn earlier_connections_count_in_the_current_interval() {
    let mut intervals = live(20_000);
    intervals.add(at(19_000), &client(1));
    assert_eq!(intervals.roll(at(-3_600_000)), []);
    intervals.add(at(-3_600_000), &client(1));
    let last = intervals.finish(at(-3_600_000));
    assert_eq!(counts(&last), [(20_000, 2)]);
    assert_eq!((last[0].length, last[0].rate()), (Duration::ZERO, 0.0));
}

#[test]
fn jump_of_years_is_one_row() {
    let mut intervals = records(0);
    intervals.add(at(0), &client(1));
    let years = 9 * 365 * 24 * 3_600_000;
    let ended = intervals.roll(at(years + 5_000));
    assert_eq!(ended.len(), MAX_EMPTY_ROWS + 2);
    let skipped = years.unsigned_abs() / 10_000;
    let (last, shown) = ended.split_last().unwrap();
    assert_eq!(last.skipped_empty + shown.len() as u64, skipped);
    assert_eq!(last.start, at(shown.len() as i64 * 10_000));
    assert_eq!(last.start + last.length, at(years));
    assert!(shown.iter().all(|interval| interval.skipped_empty == 0));
    intervals.add(at(years + 5_000), &client(1));
    let last = intervals.finish_whole().unwrap();
    assert_eq!(counts(&[last]), [(years, 1)]);
}

#[test]
fn jump_skips_no_pending_connection() {
    let mut intervals = records(0);
    intervals.add(at(10_000), &client(1));
    intervals.add_lost(1);
    let ended = intervals.roll(at(9 * 365 * 24 * 3_600_000));
    assert_eq!(counts(&ended[..3]), [(0, 1), (10_000, 1), (20_000, 0)]);
    let sum: u64 = ended.iter().map(|interval| interval.connections).sum();
    assert_eq!(sum, 2);
}

#[test]
fn first_and_last_timestamp_are_counted() {
    let mut intervals = Intervals::containing(MIN_INTERVAL, Timestamp::MIN, TimeZone::UTC);
    intervals.add(Timestamp::MIN, &client(1));
    let ended = intervals.roll(Timestamp::MAX);
    assert_eq!(ended.len(), MAX_EMPTY_ROWS + 2);
    intervals.add(Timestamp::MAX, &client(1));
    assert_eq!(intervals.roll(Timestamp::MAX), []);
    assert_eq!(intervals.finish_whole().unwrap().connections, 1);
}

#[test]
fn every_connection_is_counted_once() {
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut intervals = live(5_000);
        let (mut now, mut ended, mut added) = (5_000, Vec::new(), 0);
        for _ in 0..200 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = (random >> 33) as i64;
            now += number % 4_000 - 500;
            match number / 4_000 % 3 {
                0 => ended.extend(intervals.roll(at(now - 50))),
                1 => intervals.add(at(now), &client((number % 7) as u8)),
                _ => intervals.add_lost(1),
            }
            added += u64::from(number / 4_000 % 3 != 0);
        }
        ended.extend(intervals.finish(at(now)));
        let sum: u64 = ended.iter().map(|interval| interval.connections).sum();
        assert_eq!(sum, added);
        let is_adjacent = |pair: &[Interval]| pair[0].start + pair[0].length == pair[1].start;
        assert!(ended.windows(2).all(is_adjacent));
    }
}
