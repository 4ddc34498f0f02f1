use super::*;

const LENGTH: Duration = Duration::from_secs(10);

/// Milliseconds after 2026-11-22T14:25:30Z.
fn at(millis: i64) -> Timestamp {
    moment(1_795_357_530_000 + millis)
}

fn client(number: u8) -> Host {
    Host::at([192, 0, 2, number])
}

fn live(now: i64) -> Intervals {
    Intervals::begin(LENGTH, at(now), TimeZone::UTC)
}

fn records(first: i64) -> Intervals {
    Intervals::around(LENGTH, at(first), TimeZone::UTC)
}

/// Where each begins, and how many connections it has.
fn counts(intervals: &[Interval]) -> Vec<(i64, u64)> {
    let since = |interval: &Interval| millis(interval.start) - millis(at(0));
    let counts = intervals
        .iter()
        .map(|interval| (since(interval), interval.connections));
    counts.collect()
}

#[test]
fn the_first_and_the_last_are_partial() {
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
fn one_that_is_whole_is_not_partial() {
    let intervals = live(10_000);
    let last = intervals.finish(at(20_000));
    assert_eq!(counts(&last), [(10_000, 0)]);
    assert!(!last[0].partial);
    assert_eq!(live(10_000).finish(at(10_000)), []);
    assert_eq!(live(7_482).finish(at(7_482)), []);
}

#[test]
fn who_made_how_many() {
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
fn empty_ones_are_given_too() {
    let mut intervals = records(0);
    intervals.add(at(0), &client(1));
    let over = intervals.roll(at(35_000));
    assert_eq!(counts(&over), [(0, 1), (10_000, 0), (20_000, 0)]);
    assert_eq!(over[1].busiest, None);
    assert_eq!(over[1].rate(), 0.0);
    intervals.add(at(35_000), &client(1));
    let last = intervals.finish_whole().unwrap();
    assert_eq!(counts(&[last]), [(30_000, 1)]);
    assert_eq!(records(0).finish_whole(), None);
}

#[test]
fn a_connection_that_comes_before_the_end_is_told_is_of_the_next() {
    let mut intervals = live(0);
    intervals.add(at(9_999), &client(1));
    intervals.add(at(10_000), &client(2));
    assert_eq!(intervals.roll(at(9_970)), []);
    intervals.add(at(9_999), &client(3));
    let over = intervals.roll(at(10_001));
    assert_eq!(counts(&over), [(0, 2)]);
    assert_eq!(over[0].busiest, Some((client(1), 1)));
    assert_eq!(counts(&intervals.finish(at(20_000))), [(10_000, 1)]);
}

#[test]
fn the_end_comes_with_all_that_is_left() {
    let mut intervals = live(0);
    intervals.add(at(10_010), &client(1));
    let last = intervals.clone().finish(at(10_020));
    assert_eq!(counts(&last), [(0, 0), (10_000, 1)]);
    // The clock was set back meanwhile.
    assert_eq!(counts(&intervals.finish(at(9_000))), [(0, 1)]);
}

#[test]
fn what_is_earlier_is_of_the_current_one() {
    let mut intervals = live(20_000);
    intervals.add(at(19_000), &client(1));
    assert_eq!(intervals.roll(at(-3_600_000)), []);
    intervals.add(at(-3_600_000), &client(1));
    let last = intervals.finish(at(-3_600_000));
    assert_eq!(counts(&last), [(20_000, 2)]);
    assert_eq!((last[0].length, last[0].rate()), (Duration::ZERO, 0.0));
}

#[test]
fn a_leap_of_years_is_one_row() {
    let mut intervals = records(0);
    intervals.add(at(0), &client(1));
    let years = 9 * 365 * 24 * 3_600_000;
    let over = intervals.roll(at(years + 5_000));
    assert_eq!(over.len(), MAX_EMPTY_ROWS + 2);
    let all = years.unsigned_abs() / 10_000;
    let (last, shown) = over.split_last().unwrap();
    assert_eq!(last.skipped_empty + shown.len() as u64, all);
    assert_eq!(last.start, at(shown.len() as i64 * 10_000));
    assert_eq!(last.start + last.length, at(years));
    assert!(shown.iter().all(|interval| interval.skipped_empty == 0));
    intervals.add(at(years + 5_000), &client(1));
    let last = intervals.finish_whole().unwrap();
    assert_eq!(counts(&[last]), [(years, 1)]);
}

#[test]
fn a_leap_skips_nothing_that_waits() {
    let mut intervals = records(0);
    intervals.add(at(10_000), &client(1));
    intervals.add_lost(1);
    let over = intervals.roll(at(9 * 365 * 24 * 3_600_000));
    assert_eq!(counts(&over[..3]), [(0, 1), (10_000, 1), (20_000, 0)]);
    let sum: u64 = over.iter().map(|interval| interval.connections).sum();
    assert_eq!(sum, 2);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let mut intervals = Intervals::around(MIN_INTERVAL, Timestamp::MIN, TimeZone::UTC);
    intervals.add(Timestamp::MIN, &client(1));
    let over = intervals.roll(Timestamp::MAX);
    assert_eq!(over.len(), MAX_EMPTY_ROWS + 2);
    intervals.add(Timestamp::MAX, &client(1));
    assert_eq!(intervals.roll(Timestamp::MAX), []);
    assert_eq!(intervals.finish_whole().unwrap().connections, 1);
}

#[test]
fn no_connection_is_counted_twice_or_not_at_all() {
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut intervals = live(5_000);
        let (mut now, mut over, mut added) = (5_000, Vec::new(), 0);
        for _ in 0..200 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = (random >> 33) as i64;
            now += number % 4_000 - 500;
            match number / 4_000 % 3 {
                0 => over.extend(intervals.roll(at(now - 50))),
                1 => intervals.add(at(now), &client((number % 7) as u8)),
                _ => intervals.add_lost(1),
            }
            added += u64::from(number / 4_000 % 3 != 0);
        }
        over.extend(intervals.finish(at(now)));
        let sum: u64 = over.iter().map(|interval| interval.connections).sum();
        assert_eq!(sum, added);
        let follow = |pair: &[Interval]| pair[0].start + pair[0].length == pair[1].start;
        assert!(over.windows(2).all(follow));
    }
}
