//! The outcome of a case, as one line, and the results of all planned runs.

use std::fmt;

/// The first word of an outcome line.
const TAG: &str = "outcome";

/// Identifies a run: the case and the hook that it is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) case: String,
    pub(crate) hook: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hook, self.case)
    }
}

/// How one run of a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) id: Id,
    pub(crate) passed: bool,
    pub(crate) details: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{} {word} {}", self.id, self.details)
    }
}

impl Outcome {
    /// The line that reports the outcome to the host.
    pub(crate) fn line(&self) -> String {
        // A message of several lines is still one outcome.
        format!("{TAG} {self}").replace('\n', " | ")
    }

    /// Parses a line; `None` if it is not an outcome.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        if words.next()? != TAG {
            return None;
        }
        let (hook, case) = (words.next()?.to_owned(), words.next()?.to_owned());
        let passed = match words.next()? {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        Some(Self {
            id: Id { case, hook },
            passed,
            details: words.next().unwrap_or_default().to_owned(),
        })
    }
}

/// The planned runs and the outcomes so far.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    expected: Vec<Id>,
    outcomes: Vec<Outcome>,
}

impl Results {
    pub(crate) fn new(expected: Vec<Id>) -> Self {
        Self {
            expected,
            outcomes: Vec::new(),
        }
    }

    pub(crate) fn record(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    pub(crate) fn passed(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.passed)
            .count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.outcomes.len() - self.passed()
    }

    /// Planned runs without an outcome, which count as not passed.
    pub(crate) fn did_not_run(&self) -> Vec<&Id> {
        let ran = |id: &Id| self.outcomes.iter().any(|outcome| outcome.id == *id);
        self.expected.iter().filter(|id| !ran(id)).collect()
    }

    /// Whether there are planned runs and each of them ran and passed.
    pub(crate) fn all_passed(&self) -> bool {
        !self.expected.is_empty() && self.failed() == 0 && self.did_not_run().is_empty()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} did not run",
            self.passed(),
            self.failed(),
            self.did_not_run().len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(case: &str) -> Id {
        Id {
            case: case.to_owned(),
            hook: "kretprobe".to_owned(),
        }
    }

    fn outcome(case: &str, passed: bool) -> Outcome {
        Outcome {
            id: id(case),
            passed,
            details: "server=500 conn-cli=500".to_owned(),
        }
    }

    #[test]
    fn outcome_round_trips() {
        for passed in [true, false] {
            let original = outcome("blocked-64", passed);
            assert_eq!(Outcome::parse(&original.line()), Some(original));
        }
    }

    #[test]
    fn other_lines_are_not_outcomes() {
        assert_eq!(Outcome::parse("guest: started"), None);
        assert_eq!(Outcome::parse("outcome kretprobe"), None);
        assert_eq!(Outcome::parse("outcome kretprobe ipv4 perhaps"), None);
    }

    #[test]
    fn all_passed_needs_every_expected_case() {
        let mut results = Results::new(vec![id("ipv4"), id("ipv6")]);
        results.record(outcome("ipv4", true));
        assert!(!results.all_passed());
        assert_eq!(results.did_not_run(), [&id("ipv6")]);
        results.record(outcome("ipv6", true));
        assert!(results.all_passed());
        results.record(outcome("ipv6", false));
        assert!(!results.all_passed());
    }

    #[test]
    fn empty_list_does_not_pass() {
        assert!(!Results::new(Vec::new()).all_passed());
    }
}
