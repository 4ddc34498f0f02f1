//! The jobs of conn-cli. Each joins a source of connections, counting and an output.

mod cgroup;
pub mod check;
pub mod compare;
mod drop_watch;
mod first;
mod follow;
mod listeners;
mod metrics;
pub mod read;
mod self_tests;
mod service;
mod settings;
mod silence;
mod start;
mod status;
mod target;
pub mod trace;
pub mod view;

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod text_tests;

use std::io::{self, BufWriter, Write as _};

use crate::{model::options::Job, report::Verdict};

/// Does a job. It is here, not in the program, so that the jobs are not compiled twice.
///
/// # Errors
/// What the job cannot go on without.
pub fn run(job: &Job) -> anyhow::Result<Verdict> {
    // One thread: it sleeps nearly all the time, and capabilities are dropped per thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match job {
            Job::Trace(options) => trace::trace(options).await,
            Job::Read(options) => read::read(options).await,
            Job::Compare(options) => {
                let (lines, verdict) = compare::compare(options).await?;
                print(lines)?;
                Ok(verdict)
            }
            Job::Check(options) => {
                let (page, verdict) = check::check(options)?;
                print([page])?;
                Ok(verdict)
            }
            Job::Print(text) => {
                print([text])?;
                Ok(Verdict::Trusted)
            }
        }
    });
    // A pending write to standard output blocks a thread of tokio, which ends with the process.
    runtime.shutdown_background();
    result
}

fn print(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut parts = parts.into_iter();
    let written = parts.try_for_each(|part| out.write_all(part.as_ref()));
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
