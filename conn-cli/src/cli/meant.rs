//! What wrong arguments most likely mean.

use std::{ffi::OsString, path::Path};

use clap::{
    CommandFactory as _, Error, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Args;
use crate::system::text::escaped;

/// The same error, with the command that was meant if that can be told. `given`: all arguments, the name
/// of the program first.
pub(super) fn explained(mut error: Error, given: &[OsString]) -> Error {
    let wrong = match error.kind() {
        // With options, any other word is a subcommand in conflict with them.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => {
            ContextKind::InvalidSubcommand
        }
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return error,
    };
    // `--timeout` is not like `--time`, which the usage has, too.
    if error.remove(ContextKind::SuggestedArg).is_some() {
        error.remove(ContextKind::Usage);
    }
    let Some(ContextValue::String(wrong)) = error.get(wrong) else {
        return error;
    };
    if Args::command().find_subcommand(wrong).is_some() {
        return options_after(wrong, given);
    }
    let position = given.iter().position(|arg| arg.to_str() == Some(wrong));
    let next = position.and_then(|position| given.get(position + 1)?.to_str());
    let (kind, what) = match error.kind() {
        ErrorKind::UnknownArgument => (ErrorKind::UnknownArgument, "argument"),
        _ => (ErrorKind::InvalidSubcommand, "subcommand"),
    };
    let mut why = format!("unrecognized {what} '{}'", escaped(wrong.as_bytes()));
    if let Some(command) = meant(wrong, next) {
        why += &format!("; you may want '{command}'");
    } else if error.kind() == kind {
        return error;
    }
    Args::command().error(kind, why)
}

/// The error of options before this command, with the command that has them after it.
fn options_after(command: &str, given: &[OsString]) -> Error {
    let mut why = format!("put the options after {command}");
    // The word may also be the value of an option.
    let positions = (1..given.len()).filter(|position| given[*position].to_str() == Some(command));
    let mut moved = positions.map(|position| {
        let mut args = given.to_vec();
        args[1..=position].rotate_right(1);
        args
    });
    if let Some(args) = moved.find(|args| Args::try_parse_from(args).is_ok()) {
        let words = args[1..].iter().map(|arg| escaped(arg.as_encoded_bytes()));
        why += &format!(": conn-cli {}", words.collect::<Vec<_>>().join(" "));
    }
    Args::command().error(ErrorKind::ArgumentConflict, why)
}

/// The command that was meant by this argument, and the next one.
fn meant(wrong: &str, next: Option<&str>) -> Option<String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let read = |file: &str| format!("conn-cli read {}", escaped(file.as_bytes()));
    match (wrong, next) {
        ("port", Some(next)) => Some(format!("conn-cli --port {}", port(next)?)),
        ("-r", Some(file)) => Some(read(file)),
        _ if port(wrong).is_some() => Some(format!("conn-cli --port {wrong}")),
        _ if Path::new(wrong).is_file() => Some(read(wrong)),
        _ => None,
    }
}
