//! Who is over the limit of `--over`, and who no longer is.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::model::{
    group::GroupKey,
    over::{Over, OverEnd},
};

/// Those over the limit: no more than the kernel counts.
#[derive(Debug, Default)]
pub(crate) struct Overs {
    /// The last interval in which each was, by its number.
    last: BTreeMap<GroupKey, u64>,
    /// The number of the last interval that has ended.
    ended: u64,
}

impl Overs {
    /// Adds one that is over the limit. Returns whether it is the first time in this interval.
    pub(crate) fn add(&mut self, over: &Over) -> bool {
        match self.last.entry(over.key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(over.interval);
                true
            }
            Entry::Occupied(mut entry) => {
                let last = *entry.get();
                // It may be of an earlier one, if two processors tell at the turn.
                entry.insert(last.max(over.interval));
                last != over.interval
            }
        }
    }

    /// Whether there are any, of whom the end of an interval tells something.
    pub(crate) fn are_any(&self) -> bool {
        !self.last.is_empty()
    }

    /// Those who were over the limit before this interval, which has ended, and not in it.
    pub(crate) fn end(&mut self, end: OverEnd) -> Vec<Over> {
        if end.interval <= self.ended {
            return Vec::new();
        }
        self.ended = end.interval;
        let below = self.last.extract_if(.., |_, last| *last < end.interval);
        let (start, time) = end.period;
        below
            .map(|(key, _)| Over {
                key,
                limit: end.limit,
                time,
                interval: end.interval,
                start,
                connections: None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::model::{connection::Host, over::OverLimit};

    fn limit() -> OverLimit {
        OverLimit::new(100, Duration::from_secs(60)).unwrap()
    }

    fn at(interval: u64) -> Timestamp {
        Timestamp::from_second(60 * i64::try_from(interval).unwrap()).unwrap()
    }

    fn over(last: u8, interval: u64) -> Over {
        Over {
            key: GroupKey::Client(Host::at([192, 0, 2, last])),
            limit: limit(),
            time: at(interval),
            interval,
            start: at(interval),
            connections: Some(101),
        }
    }

    fn below(overs: &mut Overs, interval: u64) -> Vec<String> {
        let period = (at(interval), at(interval + 1));
        let end = OverEnd {
            interval,
            limit: limit(),
            period,
        };
        let below = overs.end(end).into_iter().map(|over| {
            assert_eq!(
                (over.time, over.start, over.connections),
                (period.1, period.0, None)
            );
            over.key.to_string()
        });
        below.collect()
    }

    #[test]
    fn each_is_told_once_an_interval_and_once_when_it_is_below() {
        let mut overs = Overs::default();
        assert!(overs.add(&over(1, 5)) && overs.add(&over(2, 5)));
        assert!(!overs.add(&over(1, 5)));
        assert_eq!(below(&mut overs, 5), [""; 0]);
        assert!(overs.add(&over(1, 6)));
        assert_eq!(below(&mut overs, 6), ["192.0.2.2"]);
        assert_eq!(below(&mut overs, 6), [""; 0]);
        // Several intervals end at once after a stall.
        assert_eq!(below(&mut overs, 9), ["192.0.2.1"]);
        assert!(!overs.are_any());
        assert_eq!(below(&mut overs, 10), [""; 0]);
        assert!(overs.add(&over(1, 10)));
    }

    #[test]
    fn one_told_late_of_an_earlier_interval_is_told_and_still_over() {
        let mut overs = Overs::default();
        assert!(overs.add(&over(1, 6)) && overs.add(&over(1, 5)));
        assert!(!overs.add(&over(1, 6)));
        assert_eq!(below(&mut overs, 6), [""; 0]);
        assert_eq!(below(&mut overs, 7), ["192.0.2.1"]);
    }
}
