//! The options of live tracing.

use std::{collections::BTreeSet, path::PathBuf};

use clap::ValueEnum;

use super::show::{CONNECTIONS, ShowArgs};
use crate::{
    model::{
        connection::Stage,
        filter::{Comm, Namespace, TaskFilter},
        hook::Backend,
    },
    system::users::Users,
    trace::kernel::candidates,
};

/// The arguments of live tracing.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// Stages to watch: syn, established, accepted [default: accepted]
    #[arg(long, value_name = "STAGES", value_enum, value_delimiter = ',',
          hide_possible_values = true, help_heading = STAGES)]
    event: Vec<Stage>,

    /// All three stages
    #[arg(long, conflicts_with = "event", help_heading = STAGES)]
    funnel: bool,

    /// Look for SYNs on this interface only
    #[arg(short, long, value_name = "IFACE", help_heading = STAGES)]
    pub interface: Option<String>,

    /// How to see accepts: auto, kretprobe, lsm, fentry or tracepoint
    #[arg(long, value_enum, default_value_t, hide_possible_values = true,
          hide_default_value = true, help_heading = STAGES)]
    pub probe: Probe,

    /// What to show.
    #[command(flatten)]
    pub show: ShowArgs,

    /// Only what this process accepts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = CONNECTIONS)]
    pid: Option<u32>,

    /// Only what threads of this name accept
    #[arg(long, value_name = "NAME", help_heading = CONNECTIONS)]
    comm: Option<Comm>,

    /// Only what processes of this user accept
    #[arg(long, value_name = "USER", value_parser = uid, help_heading = CONNECTIONS)]
    uid: Option<u32>,

    /// Only what is accepted in this cgroup v2, or below it
    #[arg(long, value_name = "PATH", help_heading = CONNECTIONS)]
    cgroup: Option<PathBuf>,

    /// Only in the network namespace of this process, or file
    #[arg(long, value_name = "PID|PATH", help_heading = CONNECTIONS)]
    pub netns: Option<Namespace>,

    /// Pairs of client and port counted one by one [default: 65536]
    #[arg(long, value_name = "N", default_value_t = 65536, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216), help_heading = LIMITS)]
    pub max_clients: u32,

    /// Buffer between kernel and conn-cli [default: 524288]
    #[arg(long, value_name = "BYTES", default_value_t = 524_288, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(4096..=1_073_741_824),
          help_heading = LIMITS)]
    pub buffer_size: u32,

    /// Show diagnostics of the eBPF programs and of their loading
    #[arg(short, long, help_heading = LIMITS)]
    pub verbose: bool,
}

const STAGES: &str = "Stages of a connection";
const LIMITS: &str = "Limits and diagnostics";

/// The hook that the user chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// The first of the following that is exact here, else the first that works
    #[default]
    Auto,
    /// A kretprobe on inet_csk_accept, paired with a kprobe on security_sock_graft
    Kretprobe,
    /// An LSM program on sock_graft; needs bpf among the security modules, BTF and trampolines
    Lsm,
    /// An fentry program on security_sock_graft; needs BTF and trampolines
    Fentry,
    /// The tracepoint sock:inet_sock_set_state: counts completed handshakes, not accepts
    Tracepoint,
}

impl TraceArgs {
    /// The requested stages.
    #[must_use]
    pub fn stages(&self) -> BTreeSet<Stage> {
        match (self.funnel, &self.event[..]) {
            (true, _) => [Stage::Syn, Stage::Established, Stage::Accepted].into(),
            (false, []) => [Stage::Accepted].into(),
            (false, stages) => stages.iter().copied().collect(),
        }
    }

    /// The requested filter on the accepting task.
    #[must_use]
    pub fn task(&self) -> TaskFilter {
        TaskFilter {
            pid: self.pid,
            comm: self.comm,
            uid: self.uid,
            cgroup: self.cgroup.clone(),
        }
    }

    /// The hooks that can see the requested connections, best first.
    ///
    /// # Errors
    /// Which options do not go together.
    pub fn candidates(&self) -> Result<Vec<Backend>, String> {
        candidates(self.probe, &self.stages(), self.needs_task())
    }

    /// Whether it matters who accepts.
    #[must_use]
    pub fn needs_task(&self) -> bool {
        self.show.by.needs_task() || !self.task().is_empty()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let stages = self.stages();
        let only_accepted = stages == [Stage::Accepted].into();
        if !only_accepted && !self.task().is_empty() {
            return Err(
                "--pid, --comm, --uid and --cgroup are about who accepts, which is not known at \
                 the other stages: leave out --event and --funnel"
                    .to_owned(),
            );
        }
        if !only_accepted && self.show.by.needs_task() {
            return Err(format!(
                "--by {} is about who accepts, which is not known at the other stages: leave \
                 out --event and --funnel",
                self.show.by.nouns().0
            ));
        }
        if self.interface.is_some() && !stages.contains(&Stage::Syn) {
            return Err(
                "--interface is about SYNs: add --event syn, or --funnel; where a connection \
                 was accepted is chosen with --to"
                    .to_owned(),
            );
        }
        self.candidates().map(|_| ())
    }
}

fn uid(user: &str) -> Result<u32, String> {
    Users::read().resolve(user)
}
