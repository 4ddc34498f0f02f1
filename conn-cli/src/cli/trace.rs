//! The options of live tracing.

use std::{path::PathBuf, time::Duration};

use clap::builder::TypedValueParser;

use super::{
    named,
    show::{CONNECTIONS, LINES, ShowArgs, duration},
};
use crate::{
    model::{
        endpoint::Endpoint,
        filter::{Comm, Namespaces, TaskFilter},
        hook::{Hook, counting_candidates},
        options::{MetricsOptions, ShowOptions, TraceOptions},
        over::OverLimit,
        stage::{Stage, WatchedStages},
    },
    system::users::Users,
};

/// The arguments of live tracing.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    /// What to show.
    #[command(flatten)]
    show: ShowArgs,

    /// A line once an address makes more than N connections in a time, as in 100/1m
    ///
    /// It comes as soon as there is one more than N in an interval of the clock: those of 1m are its minutes, and
    /// those of a whole day begin at midnight. There is one in each such interval, and one when an interval has
    /// ended without, also with --quiet. What is counted is what --by says, such as a network, at the last stage,
    /// in the kernel. If the clock is set, intervals go on as they were. --max-clients are counted at most, those
    /// that came first: the connections of others are not, and that is said once and at the end.
    #[arg(long, value_name = "N/TIME", value_parser = over, hide_short_help = true,
          help_heading = LINES)]
    over: Option<OverLimit>,

    /// Stages to watch: syn, established, accepted [default: accepted]
    ///
    /// A client's SYN has arrived (syn); the handshake is complete (established); the server has
    /// accepted the connection (accepted). Give several with commas. The summary counts the last of
    /// them.
    #[arg(long, value_name = "STAGES", value_parser = stage(), value_delimiter = ',',
          hide_possible_values = true, help_heading = STAGES)]
    event: Vec<Stage>,

    /// All three stages
    ///
    /// The summary has a column for each, and tells what was lost between them: handshakes that were
    /// never completed, connections that were not accepted, retransmitted and refused SYNs.
    #[arg(long, conflicts_with = "event", help_heading = STAGES)]
    funnel: bool,

    /// Look for SYNs on this interface only
    #[arg(short, long, value_name = "IFACE", help_heading = STAGES)]
    interface: Option<String>,

    /// Hook that sees accepts: auto, kretprobe, lsm, fentry, sockops or tracepoint
    ///
    /// auto takes the first that counts every connection on this machine, loads and attaches; if there
    /// is none, the first that loads and attaches. --verbose names it, and says why those before it are
    /// not used.
    #[arg(long, value_parser = hook(), default_value = AUTO, hide_possible_values = true,
          hide_default_value = true, help_heading = STAGES)]
    probe: Choice,

    /// Options of `read` that are refused with a reason.
    #[arg(long, hide = true, allow_hyphen_values = true, value_parser = past)]
    since: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true, value_parser = past)]
    until: Option<String>,

    /// Only what this process accepts
    ///
    /// Its children have ids of their own where they accept. When it ends, so does the run, with exit
    /// status 1.
    ///
    /// Filters by who accepts, of which each is a further condition, work in the kernel, and do not go
    /// with the other stages.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = CONNECTIONS)]
    pid: Option<u32>,

    /// Only what threads of this name accept
    #[arg(long, value_name = "NAME", help_heading = CONNECTIONS)]
    comm: Option<Comm>,

    /// Only what processes of this user accept
    #[arg(long, value_name = "USER", value_parser = uid, help_heading = CONNECTIONS)]
    uid: Option<u32>,

    /// Only what is accepted in this cgroup v2, or below it
    ///
    /// PATH is that of the directory, or the one in /proc/PID/cgroup. If the cgroup is removed, as when
    /// its service restarts, the run goes on, and the next one of this path counts; both are said. If
    /// connections were accepted in that one before conn-cli knew of it, the count is a lower bound.
    #[arg(long, value_name = "PATH", help_heading = CONNECTIONS)]
    cgroup: Option<PathBuf>,

    /// Only in the network namespace of this process, or file; or in all
    ///
    /// The namespace exists at least as long as the run. Without this option, connections are counted in
    /// all but those that users made in user namespaces of their own, as everybody may, where anybody
    /// can be a client: the end says how many there were.
    #[arg(long, value_name = "PID|PATH|all", help_heading = CONNECTIONS)]
    netns: Option<Namespaces>,

    /// Look for listeners in network namespaces that are made later, too
    ///
    /// Connections are counted in all of them anyway; this is about accept queues and what listeners drop. New
    /// namespaces, as of pods, are looked for every 10 seconds, more rarely if that takes long. A thread keeps
    /// CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for it until the end, which is why this is not
    /// the default. Without the first two, a note says that it cannot.
    #[arg(long, help_heading = LIMITS)]
    follow_namespaces: bool,

    /// Pairs of client and port counted one by one [default: what 64 MiB hold]
    ///
    /// That is about 430,000, with SYNs 158,000, by process 260,000; before Linux 6.1 510,000. --verbose says
    /// how many. The tables and the buffer take at most a quarter of the memory of the machine, or of the
    /// cgroup of conn-cli: with less, the defaults are smaller, and the start says so. The connections
    /// of further clients are summed up as other; if only accepts or handshakes are watched, those of them
    /// with 0.1 % of all connections have a row with what they had at least: ~2041. Since Linux 6.1, the
    /// kernel allocates the memory for a client when its first connection comes; those for which it had
    /// none are also under other, and the end says how many. --long keeps the details of so many clients, too.
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=16_777_216), help_heading = LIMITS)]
    max_clients: Option<u32>,

    /// Buffer between kernel and conn-cli [default: by processors]
    ///
    /// It is 512 KiB for up to 4 processors that are online, 4 MiB for up to 32, and 16 MiB for more, and is
    /// allocated in full at the start. BYTES are rounded up to a power of two.
    #[arg(long, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(4096..=1_073_741_824),
          help_heading = LIMITS)]
    buffer_size: Option<u32>,

    /// Serve metrics for Prometheus, such as at 9478
    ///
    /// ADDR is a port, which is on the loopback address alone, an address with a port, such as 0.0.0.0:9478, IPv6
    /// in brackets, or unix:PATH, a socket for its user and group. They are at /metrics, in the text format or as
    /// OpenMetrics or protobuf if a scraper prefers these. Any user of the machine can read them on the loopback
    /// address. A scrape is a connection like any other: if its port is watched, it counts. docs/fleet.md of the
    /// project describes the metrics.
    #[arg(long, value_name = "ADDR", overrides_with = "metrics", help_heading = METRICS)]
    metrics: Option<Endpoint>,

    /// The first N addresses have metrics of their own [default: 0]
    ///
    /// The connections of all others are in those of other; if several stages are watched, so is what an address
    /// did before its first handshake. Each is a time series for each stage: choose N with
    /// regard to what the scraper has room for.
    #[arg(long, value_name = "N", requires = "metrics", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(..=65_536), help_heading = METRICS)]
    metrics_clients: u32,

    /// Show the hooks and why, all listeners, and diagnostics
    #[arg(short, long, help_heading = LIMITS)]
    verbose: bool,

    /// See whether the hooks still run this often
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, hide = true)]
    self_test_interval: Duration,
}

const STAGES: &str = "Stages and hooks";
const LIMITS: &str = "Limits and diagnostics";
const METRICS: &str = "Metrics";

/// What `--probe` takes besides the names of hooks.
const AUTO: &str = "auto";

fn stage() -> impl TypedValueParser<Value = Stage> {
    named(Stage::ALL.map(|stage| (stage.name(), stage)))
}

/// None for the first hook that is exact here, else the first that works.
fn hook() -> impl TypedValueParser<Value = Choice> {
    let hooks = Hook::ALL.into_iter().filter(|hook| hook.info().is_option);
    let hooks = hooks.map(|hook| (hook.name(), Choice(Some(hook))));
    named([(AUTO, Choice(None))].into_iter().chain(hooks))
}

/// The hook to use, if not the best one. Not an `Option`, which clap would take for an option that
/// may be missing.
#[derive(Clone, Copy, Debug)]
struct Choice(Option<Hook>);

fn past(_: &str) -> Result<String, &'static str> {
    Err(
        "live tracing begins now, and --duration ends it; for records of the past use conn-cli read",
    )
}

impl TraceArgs {
    /// The options, if they go together.
    ///
    /// # Errors
    /// Which do not, and why.
    pub(super) fn options(&self) -> Result<TraceOptions, String> {
        let options = TraceOptions {
            show: ShowOptions {
                over: self.over,
                ..self.show.options()?
            },
            stages: if self.funnel {
                WatchedStages::new(Stage::ALL)
            } else {
                WatchedStages::new(self.event.iter().copied())
            },
            interface: self.interface.clone(),
            hook: self.probe.0,
            task: TaskFilter {
                pid: self.pid,
                comm: self.comm,
                uid: self.uid,
                cgroup: self.cgroup.clone(),
            },
            netns: self.netns.clone().unwrap_or_default(),
            follow_namespaces: self.follow_namespaces,
            max_clients: self.max_clients,
            buffer_size: self.buffer_size,
            verbose: self.verbose,
            self_test_interval: self.self_test_interval,
            metrics: self.metrics.clone().map(|endpoint| MetricsOptions {
                endpoint,
                clients: self.metrics_clients,
            }),
        };
        check(&options)?;
        Ok(options)
    }
}

fn check(options: &TraceOptions) -> Result<(), String> {
    let only_accepted = options.stages == WatchedStages::only(Stage::Accepted);
    if !only_accepted && !options.task.is_empty() {
        return Err(
            "--pid, --comm, --uid and --cgroup are about who accepts, which is not known at \
             the other stages: leave out --event and --funnel"
                .to_owned(),
        );
    }
    let by = options.show.listing.by;
    if !only_accepted && by.needs_task() {
        return Err(format!(
            "--by {} is about who accepts, which is not known at the other stages: leave \
             out --event and --funnel",
            by.name()
        ));
    }
    if options.interface.is_some() && !options.stages.contains(Stage::Syn) {
        return Err(
            "--interface is about SYNs: add --event syn, or --funnel; where a connection \
             was accepted is chosen with --to"
                .to_owned(),
        );
    }
    if options.follow_namespaces && options.netns.one().is_some() {
        return Err(
            "--follow-namespaces looks in all network namespaces, --netns in one: leave out one \
             of them"
                .to_owned(),
        );
    }
    counting_candidates(options.hook, &options.stages, options.needs()).map(|_| ())
}

/// `100/1m`
fn over(text: &str) -> Result<OverLimit, String> {
    let (connections, time) = text
        .split_once('/')
        .ok_or("give a number and a time, such as 100/1m")?;
    if !connections.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("give a number before the slash, such as 100/1m".to_owned());
    }
    let connections = connections
        .parse()
        .map_err(|error| format!("the number of connections: {error}"))?;
    OverLimit::new(connections, duration(time)?)
}

fn uid(user: &str) -> Result<u32, String> {
    Users::read().resolve(user)
}
