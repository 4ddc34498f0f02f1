//! Several conn-cli at the same time, each told something else.

use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::process::Lines;
use super::tracer::{Ended, Tracer};

/// All of them, attached.
pub(super) struct Several(Vec<One>);

struct One {
    options: String,
    tracer: Tracer,
    stdout: Lines,
}

impl Several {
    /// Starts one with each of these options, which blanks separate.
    pub(super) fn start<O: AsRef<str>>(
        command: impl Fn() -> Command,
        options: impl IntoIterator<Item = O>,
    ) -> Result<Self> {
        let start = |options: O| {
            let options = options.as_ref();
            let mut tracer = Tracer::start(command().args(options.split_whitespace()))
                .with_context(|| format!("with {options:?}"))?;
            Ok(One {
                options: options.to_owned(),
                stdout: tracer.stdout()?,
                tracer,
            })
        };
        let all: Result<_> = options.into_iter().map(start).collect();
        Ok(Self(all?))
    }

    /// Ends them, and has each looked at, with its options and in the order of the start.
    pub(super) fn finish(self, mut check: impl FnMut(&str, &Ended) -> Result<()>) -> Result<()> {
        for one in self.0 {
            let end = || {
                let ended = one.tracer.finish(Signal::INT, &one.stdout)?;
                check(&one.options, &ended)
            };
            end().with_context(|| format!("with {:?}", one.options))?;
        }
        Ok(())
    }
}
