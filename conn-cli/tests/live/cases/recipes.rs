//! The recipes of the documents that trace, typed into a shell.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::process::{Lines, Process, poll_until};
use lab::server::Server;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::context::Context;

const RECIPES: &str = include_str!("../../../../docs/recipes.md");

const CONNECTIONS: u32 = 20;

/// More in a minute than cron's recipe finds usual.
const UNUSUAL: u32 = 1001;

/// Runs conn-cli with this case's hook. It writes its id to a file, and its messages to another one if there
/// is such a file.
const WRAPPER: &str = r#"#!/bin/sh
case $1 in read) exec CONN_CLI "$@";; esac
echo $$ > DIRECTORY/pid
if [ -e DIRECTORY/messages ]; then exec 2> DIRECTORY/messages; fi
exec CONN_CLI --probe HOOK "$@"
"#;

/// The lines of the block of code under a heading, for the port of this case.
fn recipe(heading: &str, port: u16) -> Result<Vec<String>> {
    let (_, section) = RECIPES
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("no recipe {heading:?}"))?;
    let block = section.split("\n```").nth(1).context("no block")?;
    let port = format!("--port {port} ");
    let lines = block.lines().skip(1);
    Ok(lines
        .map(|line| line.replace("--port 80 ", &port))
        .collect())
}

/// A directory with a `conn-cli` that a shell finds. If a case fails, what that runs is ended.
struct Place {
    path: PathBuf,
    conn_cli: PathBuf,
}

impl Place {
    fn new(context: &Context) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("conn-cli-recipes-{}", std::process::id()));
        let conn_cli = fs::canonicalize(&context.conn_cli)?;
        fs::create_dir_all(path.join("bin"))?;
        let wrapper = WRAPPER
            .replace("CONN_CLI", &conn_cli.display().to_string())
            .replace("DIRECTORY", &path.display().to_string())
            .replace("HOOK", &context.hook.to_string());
        let program = path.join("bin/conn-cli");
        fs::write(&program, wrapper)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path, conn_cli })
    }

    /// A shell in this directory.
    fn shell(&self, program: &str) -> Result<Command> {
        let others = std::env::var("PATH")?;
        let mut shell = Command::new(program);
        shell
            .current_dir(&self.path)
            .env("PATH", format!("{}/bin:{others}", self.path.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Ok(shell)
    }

    fn text(&self, file: &str) -> String {
        // It may not be there yet.
        fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }

    fn wait_for(&self, file: &str, text: &str, count: u32) -> Result<()> {
        poll_until(&format!("{text:?} in {file}"), || {
            Ok(self.text(file).matches(text).count() >= count as usize)
        })
    }

    /// Ends the conn-cli that traces.
    fn end(&self) -> Result<()> {
        let pid = self.pid().context("conn-cli does not run")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// The conn-cli that traces.
    fn pid(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.text("pid").trim().parse().ok()?)?;
        let program = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()?;
        (program == self.conn_cli).then_some(pid)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            // It fails only if that has ended.
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A shell into which commands are typed.
struct Typed {
    shell: Process,
    output: Lines,
}

impl Typed {
    fn start(place: &Place) -> Result<Self> {
        let mut shell = Process::spawn("bash", place.shell("bash")?.stdin(Stdio::piped()))?;
        let output = Lines::of("bash", stdout(&mut shell.child)?);
        Ok(Self { shell, output })
    }

    fn enter(&mut self, line: &str) -> Result<()> {
        let stdin = self.shell.child.stdin.as_mut().context("no input")?;
        Ok(writeln!(stdin, "{line}")?)
    }
}

fn stdout(child: &mut Child) -> Result<std::process::ChildStdout> {
    child.stdout.take().context("no output")
}

/// One in the background, its totals meanwhile, and its end.
pub(crate) fn background(context: &Context) -> Result<String> {
    let [start, end] = &recipe("In the background", context.port)?[..] else {
        anyhow::bail!("not two lines");
    };
    let meanwhile = recipe("Totals meanwhile", context.port)?;
    let (ask, show) = meanwhile.split_first().context("no lines")?;
    let place = Place::new(context)?;
    let mut shell = Typed::start(&place)?;
    let server = Server::plain(context.port)?;
    shell.enter(start)?;
    place.wait_for("web.log", "Tracing", 1)?;
    let made = Load::v4(context.port, CONNECTIONS).run()?;
    place.wait_for("web.jsonl", r#""type":"connection""#, CONNECTIONS)?;
    shell.enter(ask)?;
    place.wait_for("web.jsonl", "\"type\":\"totals\"", 1)?;
    for line in show {
        shell.enter(line)?;
    }
    let rows = made.len() as u32;
    let shown = shell.output.take(3 + rows)?;
    ensure!(
        shown[..3] == [&*CONNECTIONS.to_string(), "", "=== Summary ==="],
        "not the totals: {shown:?}"
    );
    ensure!(counts(&shown[3..])? == made, "made {made:?}: {shown:?}");
    let served = server.finish()?;
    ensure!(served == made, "served {served:?}, made {made:?}");
    shell.enter(end)?;
    shell.enter("wait $!; exit $?")?;
    let status = shell.shell.wait()?;
    ensure!(status.success(), "ended with {status}");
    let output = place.text("web.jsonl");
    let last: Value = serde_json::from_str(output.lines().last().context("no output")?)?;
    ensure!(
        last["type"] == "summary" && last["connections"] == CONNECTIONS,
        "not the summary: {last}"
    );
    Ok(format!("{CONNECTIONS} of {rows}"))
}

/// The rows of a summary.
fn counts(rows: &[String]) -> Result<Counts> {
    let row = |row: &String| {
        let (address, count) = row.rsplit_once(": ").context("not a row")?;
        Ok((address.parse()?, count.parse()?))
    };
    rows.iter().map(row).collect()
}

/// Each run adds the addresses that are not in the file, and no other.
pub(crate) fn new_addresses(context: &Context) -> Result<String> {
    let lines = recipe("New addresses", context.port)?;
    let (run, before) = lines.split_last().context("no lines")?;
    let place = Place::new(context)?;
    fs::write(place.path.join("messages"), "")?;
    let mut shell = Typed::start(&place)?;
    for line in before {
        shell.enter(line)?;
    }
    for clients in [&[2][..], &[2, 3]] {
        shell.enter(run)?;
        place.wait_for("messages", "Tracing", 1)?;
        let server = Server::plain(context.port)?;
        load(context, clients, CONNECTIONS).run()?;
        server.finish()?;
        // Not after the whole day.
        place.end()?;
        shell.enter("echo ended $?")?;
        let ended = shell.output.take(1)?;
        ensure!(ended == ["ended 0"], "{ended:?}");
        fs::write(place.path.join("messages"), "")?;
    }
    let known = place.text("known");
    let rows: Vec<&str> = known
        .lines()
        .filter(|line| line.starts_with("127."))
        .collect();
    let half = CONNECTIONS / 2;
    ensure!(
        rows == [
            format!("127.0.0.2: {CONNECTIONS}"),
            format!("127.0.0.3: {half}")
        ],
        "not the new ones: {known}"
    );
    Ok(rows.join(", "))
}

/// Connections from these addresses in turn.
fn load(context: &Context, clients: &[u8], connections: u32) -> Load {
    let from = clients.iter().map(|last| [127, 0, 0, *last].into());
    Load {
        from: from.collect(),
        ..Load::v4(context.port, connections)
    }
}

/// What nftables is told.
pub(crate) fn over(context: &Context) -> Result<String> {
    // Too many in at least one minute, if a minute ends meanwhile.
    const TOO_MANY: u32 = 202;
    let lines = recipe("Too many connections, at once", context.port)?;
    let place = Place::new(context)?;
    fs::write(place.path.join("messages"), "")?;
    let nft = place.path.join("bin/nft");
    let script = format!("#!/bin/sh\necho \"$*\" >> {}/nft\n", place.path.display());
    fs::write(&nft, script)?;
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755))?;
    let mut shell = Typed::start(&place)?;
    for line in &lines {
        shell.enter(line)?;
    }
    place.wait_for("messages", "Tracing", 1)?;
    let server = Server::plain(context.port)?;
    load(context, &[2], CONNECTIONS).run()?;
    load(context, &[3], TOO_MANY).run()?;
    server.finish()?;
    // While it still runs.
    let element = "add element inet over clients { 127.0.0.3 timeout 1h }";
    place.wait_for("nft", element, 1)?;
    place.end()?;
    shell.enter("echo ended $?")?;
    let ended = shell.output.take(1)?;
    let told = place.text("nft");
    let elements: Vec<&str> = { told.lines() }
        .filter(|line| line.starts_with("add element"))
        .collect();
    ensure!(
        ended == ["ended 0"] && elements.iter().all(|told| *told == element),
        "{ended:?}, {told:?}"
    );
    Ok(element.to_owned())
}

/// What cron runs prints the address with too many connections, and no other.
pub(crate) fn alert(context: &Context) -> Result<String> {
    let table = recipe("An alert", context.port)?;
    let entry = table.last().context("no line")?;
    // Five times and a user are before the command.
    let command = entry.splitn(7, ' ').last().context("no command")?;
    let place = Place::new(context)?;
    fs::write(place.path.join("messages"), "")?;
    let server = Server::plain(context.port)?;
    let mut cron = Process::spawn("sh", place.shell("sh")?.args(["-c", command]))?;
    let output = Lines::of("sh", stdout(&mut cron.child)?);
    place.wait_for("messages", "Tracing", 1)?;
    load(context, &[2], UNUSUAL).run()?;
    load(context, &[3], CONNECTIONS).run()?;
    server.finish()?;
    // Not after the whole minute.
    place.end()?;
    let output = output.rest()?;
    let status = cron.wait()?;
    ensure!(
        status.success() && output == [format!("127.0.0.2: {UNUSUAL}")],
        "{status}: {output:?}"
    );
    Ok(output.concat())
}
