//! conn-cli against real servers and clients: `cargo test --test live`.
//!
//! The same program runs natively and, as PID 1, in the guests of `cargo xtask vm`. Cases start it
//! again as their servers and other helpers.
//!
//! Modules use those in the groups below them, never one above.

mod run;

mod checks;
mod plan;

mod list;

mod case;
mod cases;
mod machines;

mod identity;
mod many_listeners;
mod map_reader;
mod preemptible;
mod rfc3339;

mod context;

mod allowed;
mod hidden;
mod old_version;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use lab::{as_user, guest, itself, server};

/// What cases start this program as.
#[derive(Parser)]
enum Helper {
    Serve(server::Args),
    AsUser(as_user::Args),
    ListenInNamespaces(many_listeners::Args),
    ReadMap(map_reader::Args),
    RewriteUname(old_version::Args),
}

fn main() -> ExitCode {
    if guest::is_init() {
        return guest::main(task);
    }
    let result = match itself::arguments() {
        Some(arguments) => help(&Helper::parse_from(arguments)).map(|()| ExitCode::SUCCESS),
        None => run::main(run::Args::parse()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn help(helper: &Helper) -> Result<()> {
    match helper {
        Helper::Serve(args) => server::run(args),
        Helper::AsUser(args) => as_user::run(args),
        Helper::ListenInNamespaces(args) => many_listeners::run(args),
        Helper::ReadMap(args) => map_reader::run(args),
        Helper::RewriteUname(args) => old_version::run(args),
    }
}

/// What PID 1 of a guest starts: this program again, with the arguments in a file.
fn task() -> Result<Command> {
    let arguments = fs::read_to_string(guest::ARGUMENTS).context("no arguments")?;
    let mut live = Command::new("/proc/self/exe");
    live.args(arguments.lines());
    Ok(live)
}
