//! The outcome of a case, as one line, and the results of all planned runs.

use std::fmt;

/// The first word of an outcome line.
const TAG: &str = "outcome";

/// How one run of a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The case and its hook: `blocked-64/fentry`.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What it found, or why it failed.
    pub details: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{} {word} {}", self.name, self.details)
    }
}

impl Outcome {
    /// The line that reports the outcome to the host.
    pub fn line(&self) -> String {
        // A message of several lines is still one outcome.
        format!("{TAG} {self}").replace('\n', " | ")
    }

    /// Parses a line; `None` if it is not an outcome.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        if words.next()? != TAG {
            return None;
        }
        let name = words.next()?.to_owned();
        let passed = match words.next()? {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        Some(Self {
            name,
            passed,
            details: words.next().unwrap_or_default().to_owned(),
        })
    }
}

/// The planned runs and the outcomes so far.
#[derive(Clone, Debug)]
pub struct Results {
    expected: Vec<String>,
    outcomes: Vec<Outcome>,
}

impl Results {
    /// Without an outcome so far.
    pub fn new(expected: Vec<String>) -> Self {
        Self {
            expected,
            outcomes: Vec::new(),
        }
    }

    /// Adds an outcome.
    pub fn record(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// How many runs passed.
    pub fn passed(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.passed)
            .count()
    }

    /// How many runs failed.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }

    /// The outcomes that are failures.
    fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.passed)
    }

    /// Planned runs without an outcome, which count as not passed.
    fn did_not_run(&self) -> Vec<&String> {
        let ran = |name: &String| self.outcomes.iter().any(|outcome| outcome.name == *name);
        self.expected.iter().filter(|name| !ran(name)).collect()
    }

    /// Whether there are planned runs and each of them ran and passed.
    pub fn all_passed(&self) -> bool {
        !self.expected.is_empty() && self.problems().is_empty()
    }

    /// A line for each planned run that did not pass.
    pub fn problems(&self) -> Vec<String> {
        let failed = self.failures().map(Outcome::to_string);
        let missing = self.did_not_run();
        let did_not_run = missing.iter().map(|name| format!("{name} DID NOT RUN"));
        failed.chain(did_not_run).collect()
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

    fn name(case: &str) -> String {
        format!("{case}/kretprobe")
    }

    fn outcome(case: &str, passed: bool) -> Outcome {
        Outcome {
            name: name(case),
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
        assert_eq!(Outcome::parse("outcome ipv4/lsm"), None);
        assert_eq!(Outcome::parse("outcome ipv4/lsm perhaps"), None);
    }

    #[test]
    fn all_passed_needs_every_expected_case() {
        let mut results = Results::new(vec![name("ipv4"), name("ipv6")]);
        results.record(outcome("ipv4", true));
        assert!(!results.all_passed());
        assert_eq!(results.problems(), ["ipv6/kretprobe DID NOT RUN"]);
        results.record(outcome("ipv6", true));
        assert!(results.all_passed());
        results.record(outcome("ipv6", false));
        assert!(!results.all_passed());
        assert_eq!(
            results.problems(),
            ["ipv6/kretprobe FAILED server=500 conn-cli=500"]
        );
    }

    #[test]
    fn empty_list_does_not_pass() {
        assert!(!Results::new(Vec::new()).all_passed());
    }
}
