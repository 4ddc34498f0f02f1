//! Several conn-cli at the same time, with different options.

use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::process::Lines;
use crate::tracer::{Ended, Tracer};

/// All instances, attached.
pub struct Several(Vec<Instance>);

struct Instance {
    options: String,
    tracer: Tracer,
    stdout: Lines,
}

impl Several {
    /// Starts one conn-cli for each of these strings of options, which are separated by spaces.
    pub fn start<O: AsRef<str>>(
        command: impl Fn() -> Command,
        options: impl IntoIterator<Item = O>,
    ) -> Result<Self> {
        let start = |options: O| {
            let options = options.as_ref();
            let mut tracer = Tracer::start(command().args(options.split_whitespace()))
                .with_context(|| format!("with {options:?}"))?;
            Ok(Instance {
                options: options.to_owned(),
                stdout: tracer.stdout()?,
                tracer,
            })
        };
        let all: Result<_> = options.into_iter().map(start).collect();
        Ok(Self(all?))
    }

    /// Ends them in the order of their start, and checks each with its options.
    pub fn finish(self, mut check: impl FnMut(&str, &Ended) -> Result<()>) -> Result<()> {
        for instance in self.0 {
            let end = || {
                let ended = instance.tracer.finish(Signal::INT, &instance.stdout)?;
                check(&instance.options, &ended)
            };
            end().with_context(|| format!("with {:?}", instance.options))?;
        }
        Ok(())
    }
}
