//! `conn-cli`: shows every new TCP connection to a port as it happens.

use std::process::ExitCode;

use conn_cli::{
    cli::{Args, Command},
    jobs,
    report::Verdict,
    system::stderr::say,
};

fn main() -> ExitCode {
    let args = Args::from_env();
    if args.trace.verbose {
        show_diagnostics();
    }
    match run(&args) {
        Ok(Verdict::Trusted) => ExitCode::SUCCESS,
        Ok(Verdict::AtLeast) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("conn-cli: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<Verdict> {
    // One thread: it sleeps nearly all the time, and capabilities are dropped per thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match &args.command {
            Some(Command::Read(args)) => jobs::read::read(args).await,
            None => jobs::trace::trace(&args.trace).await,
        }
    });
    // A write to a stopped terminal may still block tokio's thread.
    runtime.shutdown_background();
    result
}

/// Sends the diagnostics of aya and of the eBPF programs to standard error.
fn show_diagnostics() {
    struct Stderr;

    impl log::Log for Stderr {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            // aya_obj logs every relocation.
            !metadata.target().starts_with("aya_obj")
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                let (level, target) = (record.level(), record.target());
                say(format_args!("{level} {target}: {}", record.args()));
            }
        }
        fn flush(&self) {}
    }

    log::set_max_level(log::LevelFilter::Debug);
    log::set_logger(&Stderr).expect("no other logger is set");
}
