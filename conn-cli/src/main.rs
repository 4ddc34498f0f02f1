//! `conn-cli`: shows every new TCP connection to a port as it happens.

use std::process::ExitCode;

use conn_cli::{Verdict, cli, jobs, model::options::Job, say};

fn main() -> ExitCode {
    #[cfg(no_unwinding)]
    disable_backtraces();
    let job = cli::job();
    if let Job::Trace(options) = &job
        && options.verbose
    {
        show_diagnostics();
    }
    match jobs::run(&job) {
        Ok(Verdict::Trusted) => ExitCode::SUCCESS,
        Ok(Verdict::AtLeast | Verdict::TargetEnded | Verdict::Incomplete) => ExitCode::FAILURE,
        // As a shell does for a program that SIGINT ends.
        Ok(Verdict::Interrupted) => ExitCode::from(130),
        Err(error) => {
            say(format_args!("conn-cli: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A backtrace without the tables for unwinding would end the process (`uw_init_context_1` of libgcc).
#[cfg(no_unwinding)]
fn disable_backtraces() {
    for variable in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        // SAFETY: there is no other thread yet.
        unsafe { std::env::remove_var(variable) };
    }
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
