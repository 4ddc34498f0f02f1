//! The guest's messages about each row, in lines of its console.

use std::fmt::{self, Display};

use super::rows::ROWS;

/// One run of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// Instructions of all processes per connection, until all are idle.
    pub(super) all: u64,
    /// Those executed while the client connected.
    pub(super) meanwhile: u64,
    /// Instructions from exec until it was ready; 0 if nothing is started.
    pub(super) ready: u64,
    /// Resident memory when ready, in KiB; 0 if no process stays.
    pub(super) resident: u64,
    /// Connections or stages that it reported one by one, and those that are missing. If the tracer
    /// is started once, the last figure has the counts of all runs.
    pub(super) reported: Option<(u64, u64)>,
}

/// What a row does not report of a server that waited before the tracer was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) missed: u64,
    pub(super) of: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Figure(Figure),
    Missed(Missed),
    Failed(String),
}

/// A message about the row with this index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) row: usize,
    pub(super) body: Body,
}

impl Body {
    pub(super) fn figure(&self) -> Option<Figure> {
        match self {
            Self::Figure(figure) => Some(*figure),
            _ => None,
        }
    }

    pub(super) fn missed(&self) -> Option<Missed> {
        match self {
            Self::Missed(missed) => Some(*missed),
            _ => None,
        }
    }

    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            _ => None,
        }
    }

    fn parse(kind: &str, rest: &str) -> Option<Self> {
        if kind == "failed" {
            return Some(Self::Failed(rest.to_owned()));
        }
        let numbers: Vec<u64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
        match (kind, &numbers[..]) {
            ("missed", &[missed, of]) => Some(Self::Missed(Missed { missed, of })),
            ("figure", &[all, meanwhile, ready, resident, ref reported @ ..]) => {
                let reported = match *reported {
                    [] => None,
                    [reported, lost] => Some((reported, lost)),
                    _ => return None,
                };
                Some(Self::Figure(Figure {
                    all,
                    meanwhile,
                    ready,
                    resident,
                    reported,
                }))
            }
            _ => None,
        }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row;
        match &self.body {
            Body::Failed(why) => write!(f, "failed {row} {}", why.replace('\n', " ")),
            Body::Missed(Missed { missed, of }) => write!(f, "missed {row} {missed} {of}"),
            Body::Figure(figure) => {
                let Figure {
                    all,
                    meanwhile,
                    ready,
                    resident,
                    reported,
                } = figure;
                write!(f, "figure {row} {all} {meanwhile} {ready} {resident}")?;
                reported.map_or(Ok(()), |(reported, lost)| write!(f, " {reported} {lost}"))
            }
        }
    }
}

impl Message {
    /// Parses a line of the console; None if it is something else.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let (row, rest) = rest.split_once(' ')?;
        let row = row.parse().ok().filter(|&row| row < ROWS.len())?;
        let body = Body::parse(kind, rest)?;
        Some(Self { row, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_parsed_as_printed() {
        let figure = Figure {
            all: 100,
            meanwhile: 90,
            ready: 20_000_000,
            resident: 2048,
            reported: Some((7, 1)),
        };
        let all = [
            Body::Figure(figure),
            Body::Figure(Figure::default()),
            Body::Missed(Missed { missed: 3, of: 9 }),
            Body::Failed("no such file".to_owned()),
        ];
        for body in all {
            let message = Message { row: 3, body };
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
        assert_eq!(Message::parse("figure 3 7"), None);
        assert_eq!(Message::parse("missed 3 7"), None);
        assert_eq!(Message::parse("figure 3000 1 2 3 4"), None);
    }
}
