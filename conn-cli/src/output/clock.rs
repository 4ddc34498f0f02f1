//! Times of events as text.

use jiff::{Timestamp, tz::TimeZone};

/// Writes times in one time zone. Events come in bursts, so the text of the last second is
/// kept.
#[derive(Debug)]
pub struct Clock {
    zone: TimeZone,
    second: i64,
    text: String,
}

impl Clock {
    /// A clock for this time zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            second: i64::MIN,
            text: String::new(),
        }
    }

    /// As ctime(3) has it: `Mon Mar 17 04:13:03 2014`.
    pub fn ctime(&mut self, time: Timestamp) -> &str {
        if time.as_second() != self.second {
            let zoned = time.to_zoned(self.zone.clone());
            self.text = zoned.strftime("%a %b %e %H:%M:%S %Y").to_string();
            self.second = time.as_second();
        }
        &self.text
    }

    /// As RFC 3339 has it, in microseconds: `2014-03-17T04:13:03.000000+00:00`.
    #[must_use]
    pub fn rfc3339(&self, time: Timestamp) -> String {
        let offset = self.zone.to_offset(time);
        format!("{:.6}", time.display_with_offset(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp::constant(1_395_029_583, 123_456_789);

    #[test]
    fn ctime_is_that_of_the_c_library() {
        let mut utc = Clock::new(TimeZone::UTC);
        assert_eq!(utc.ctime(TIME), "Mon Mar 17 04:13:03 2014");
        let day = Timestamp::from_second(1_394_000_000).unwrap();
        // A day below 10 is padded with a space.
        assert_eq!(utc.ctime(day), "Wed Mar  5 06:13:20 2014");
        let mut east = Clock::new(TimeZone::fixed(jiff::tz::offset(9)));
        assert_eq!(east.ctime(TIME), "Mon Mar 17 13:13:03 2014");
    }

    #[test]
    fn rfc3339_has_the_offset() {
        let east = Clock::new(TimeZone::fixed(jiff::tz::offset(9)));
        assert_eq!(east.rfc3339(TIME), "2014-03-17T13:13:03.123456+09:00");
        let utc = Clock::new(TimeZone::UTC);
        assert_eq!(utc.rfc3339(TIME), "2014-03-17T04:13:03.123456+00:00");
    }
}
