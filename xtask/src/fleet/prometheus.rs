//! Prometheus of Debian, and VictoriaMetrics, scrape a conn-cli under load: what they then answer is what the
//! server counted, and the files in `deploy/` say nothing that they do not understand.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use lab::client::Load;
use lab::machine::Architecture;
use lab::process::{Process, poll_until};
use lab::report::Report;
use lab::scrape::ask;
use lab::server::Server;
use lab::tracer::Tracer;
use lab::vm::apt::{self, Apt};
use lab::{command, workspace};
use rustix::process::Signal;
use serde_json::Value;

/// The Debian release of the packages.
const RELEASE: &str = "bookworm";

/// Connections for each server of metrics.
const CONNECTIONS: u32 = 3000;

/// Unpacks the programs, which are not installed: their packages begin services.
pub(super) fn obtain(all: bool) -> Result<PathBuf> {
    let directory = workspace::root().join("target/fleet");
    let packages: &[&str] = if all {
        &["prometheus", "victoria-metrics"]
    } else {
        &["prometheus"]
    };
    for package in packages {
        let root = directory.join(package);
        apt::unpack_once(&[package], &root, || {
            let apt = Apt::updated(RELEASE, Architecture::X86_64)?;
            let newest = apt.show(package)?.into_iter().next();
            apt.unpack(&newest.context("no such package")?, &root)
        })
        .with_context(|| format!("cannot fetch {package}"))?;
    }
    Ok(directory)
}

/// Runs each of them.
pub(super) fn run(conn_cli: &Path, programs: &Path, all: bool) -> Result<()> {
    let program = |package: &str, name: &str| programs.join(package).join("usr/bin").join(name);
    let deploy = workspace::root().join("deploy");
    let promtool = program("prometheus", "promtool");
    let tool = |words: [&str; 2], file: &str| {
        let path = deploy.join("prometheus").join(file);
        command::run(Command::new(&promtool).args(words).arg(path))
    };
    tool(["check", "config"], "scrape.yml")?;
    tool(["check", "rules"], "rules.yml")?;
    let dashboard = deploy.join("grafana/dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard)?)?;
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    ensure!(!queries.is_empty(), "no query in the dashboard");

    let place = std::env::temp_dir().join(format!("conn-cli-fleet-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    let scraped = Scraped {
        conn_cli,
        promtool: &promtool,
        place: &place,
        queries: &queries,
    };
    fs::copy(deploy.join("prometheus/rules.yml"), place.join("rules.yml"))?;
    let prometheus = |features: Option<&str>, config: &Path, port: u16| {
        let storage = place.join(format!("tsdb-{port}"));
        let mut command = Command::new(program("prometheus", "prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", storage.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(features.map(|features| format!("--enable-feature={features}")));
        Ok(command)
    };
    let result = scraped.by("prometheus", |config, port| prometheus(None, config, port));
    // It asks for protobuf then.
    let result = result.and_then(|()| {
        let feature = Some("native-histograms");
        scraped.by("prometheus with protobuf", |config, port| {
            prometheus(feature, config, port)
        })
    });
    let result = result.and_then(|()| {
        if !all {
            return Ok(());
        }
        scraped.by("victoria-metrics", |config, port| {
            let mut command = Command::new(program("victoria-metrics", "victoria-metrics"));
            command
                .arg(format!("-promscrape.config={}", config.display()))
                // It has no use for rules.
                .arg("-promscrape.config.strictParse=false")
                .arg(format!(
                    "-storageDataPath={}",
                    place.join("victoria").display()
                ))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                // Else it answers nothing of the last 30 seconds.
                .arg("-search.latencyOffset=0s");
            Ok(command)
        })
    });
    fs::remove_dir_all(&place)?;
    result
}

/// A conn-cli that is scraped.
struct Scraped<'a> {
    conn_cli: &'a Path,
    promtool: &'a Path,
    place: &'a Path,
    queries: &'a [String],
}

impl Scraped<'_> {
    /// Has a program scrape it under load. `command` gets the configuration and the port that it listens on.
    fn by(
        &self,
        name: &'static str,
        command: impl FnOnce(&Path, u16) -> Result<Command>,
    ) -> Result<()> {
        let [served, metrics, answers] = free_ports()?;
        let config = self.place.join("scrape.yml");
        fs::write(&config, configuration(metrics)?)?;
        let server = Server::plain(served)?;
        let mut conn_cli = Command::new(self.conn_cli);
        conn_cli
            .args(["--port", &served.to_string(), "--quiet", "--json"])
            .args([
                "--name",
                "loopback=127.0.0.0/8",
                "--metrics",
                &metrics.to_string(),
            ]);
        let mut tracer = Tracer::start(&mut conn_cli)?;
        let stdout = tracer.stdout()?;
        self.check_metrics(metrics)?;
        let mut command = command(&config, answers)?;
        // What it logs is of no use unless it ends.
        let log = fs::File::create(self.place.join(format!("{name}.log")))?;
        command.stdout(Stdio::null()).stderr(log);
        let process = Process::spawn(name, &mut command)?;
        let query = |query: &str| query_at(answers, query);
        poll_until("the first scrape", || {
            Ok(query("up{job=\"conn-cli\"} == 1").is_ok_and(|found| !found.is_empty()))
        })?;
        let load = Load::v4(served, CONNECTIONS).start()?;
        while !load.is_finished() {
            // The rates of the dashboard are of some time.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        load.finish()?;
        let counts = server.finish()?;
        let total: u64 = counts.values().sum();
        let by_name =
            "sum by (network_name) (conn_cli_connections_total{network_name=\"loopback\"})";
        poll_until("the last scrape", || {
            Ok(query(by_name)?
                .first()
                .is_some_and(|sum| *sum == total as f64))
        })?;
        // Not every hook sees accepts.
        let has_waits = !query("conn_cli_hook_info{stage=\"accepted\"}")?.is_empty();
        let is_known = |expression: &&String| has_waits || !expression.contains("accept_wait");
        let queries: Vec<_> = self.queries.iter().filter(is_known).collect();
        for expression in &queries {
            let found = poll_until(expression, || Ok(!query(expression)?.is_empty()));
            found.with_context(|| format!("{name} has nothing for {expression}"))?;
        }
        ensure!(query("conn_cli_lower_bound")? == [0.0], "not exact");
        drop(process);
        let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
        report.check_totals(&counts)?;
        println!(
            "{name}: {total} connections, as the server counted; {} of {} queries of the dashboard \
             have data, the others need a hook that sees accepts",
            queries.len(),
            self.queries.len()
        );
        Ok(())
    }

    /// Has promtool judge the metrics.
    fn check_metrics(&self, port: u16) -> Result<()> {
        let answer = ask(port, "GET /metrics HTTP/1.1\r\n\r\n")?;
        let path = self.place.join("metrics");
        fs::write(&path, answer.body)?;
        let mut promtool = Command::new(self.promtool);
        promtool
            .args(["check", "metrics"])
            .stdin(fs::File::open(path)?);
        command::run(&mut promtool).context("promtool does not like the metrics")
    }
}

/// The configuration in `deploy/`, for this port, with a scrape each second.
fn configuration(port: u16) -> Result<String> {
    let path = workspace::root().join("deploy/prometheus/scrape.yml");
    let config = fs::read_to_string(path)?;
    let replaced = |config: String, old: &str, new: &str| {
        ensure!(config.contains(old), "scrape.yml has no {old}");
        Ok(config.replace(old, new))
    };
    let config = replaced(config, "scrape_interval: 15s", "scrape_interval: 1s")?;
    replaced(config, "127.0.0.1:9478", &format!("127.0.0.1:{port}"))
}

/// The values that answer a query.
fn query_at(port: u16, query: &str) -> Result<Vec<f64>> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = ask(
        port,
        &format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n"),
    )?;
    let answer: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("{query}: {}", answer.head))?;
    let Some(series) = answer["data"]["result"].as_array() else {
        bail!("{query}: {answer}");
    };
    let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
    Ok(series
        .iter()
        .filter_map(value)
        .filter(|value: &f64| !value.is_nan())
        .collect())
}

/// The queries of a dashboard, with values for what Grafana puts in.
fn expressions(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            if let Some(Value::String(expression)) = fields.get("expr") {
                let expression = expression.replace("$__rate_interval", "1m");
                found.push(
                    expression
                        .replace("$instance", ".*")
                        .replace("$__range", "1h"),
                );
            }
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => (),
    }
}

/// Ports that nobody listens on.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()?;
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<std::io::Result<_>>()?;
    ports.try_into().ok().context("too few ports")
}
