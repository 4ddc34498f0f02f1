//! What the guest tells of each row, in lines of its console.

use std::fmt::{self, Display};

use super::rows::ROWS;

/// One run of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// Instructions of all processes for each connection, once all has come to rest.
    pub(super) all: u64,
    /// Those that passed while the client connected.
    pub(super) meanwhile: u64,
    /// Instructions from exec until it was ready; 0 if nothing is started.
    pub(super) ready: u64,
    /// Resident when ready, in KiB; 0 if nothing stays.
    pub(super) resident: u64,
    /// Connections or stages that it tells of one by one, and those that are not there; of a
    /// tracer that is started once, those of all runs are in the last.
    pub(super) told: Option<(u64, u64)>,
}

/// What a row does not tell of a server that waited before it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) missed: u64,
    pub(super) of: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Figure(Figure),
    Missed(Missed),
    Failed(String),
}

/// What the guest says of the row of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) row: usize,
    pub(super) what: What,
}

impl What {
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
            ("figure", &[all, meanwhile, ready, resident, ref told @ ..]) => {
                let told = match *told {
                    [] => None,
                    [told, lost] => Some((told, lost)),
                    _ => return None,
                };
                Some(Self::Figure(Figure {
                    all,
                    meanwhile,
                    ready,
                    resident,
                    told,
                }))
            }
            _ => None,
        }
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row;
        match &self.what {
            What::Failed(why) => write!(f, "failed {row} {}", why.replace('\n', " ")),
            What::Missed(Missed { missed, of }) => write!(f, "missed {row} {missed} {of}"),
            What::Figure(figure) => {
                let Figure {
                    all,
                    meanwhile,
                    ready,
                    resident,
                    told,
                } = figure;
                write!(f, "figure {row} {all} {meanwhile} {ready} {resident}")?;
                told.map_or(Ok(()), |(told, lost)| write!(f, " {told} {lost}"))
            }
        }
    }
}

impl Said {
    /// Reads a line of the console; None if it is another.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let (row, rest) = rest.split_once(' ')?;
        let row = row.parse().ok().filter(|&row| row < ROWS.len())?;
        let what = What::parse(kind, rest)?;
        Some(Self { row, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_survives_the_console() {
        let figure = Figure {
            all: 100,
            meanwhile: 90,
            ready: 20_000_000,
            resident: 2048,
            told: Some((7, 1)),
        };
        let all = [
            What::Figure(figure),
            What::Figure(Figure::default()),
            What::Missed(Missed { missed: 3, of: 9 }),
            What::Failed("no such file".to_owned()),
        ];
        for what in all {
            let said = Said { row: 3, what };
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        assert_eq!(Said::parse("figure 3 7"), None);
        assert_eq!(Said::parse("missed 3 7"), None);
        assert_eq!(Said::parse("figure 3000 1 2 3 4"), None);
    }
}
