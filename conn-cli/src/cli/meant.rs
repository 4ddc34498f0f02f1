//! What wrong arguments most likely mean.

use std::{ffi::OsString, path::Path};

use clap::{
    CommandFactory as _, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Args;
use crate::system::text::escaped;

/// The same error, with the command that was meant if that can be told. `given`: all arguments, the name
/// of the program first.
pub(super) fn explained(mut error: Error, given: &[OsString]) -> Error {
    let wrong = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return error,
    };
    // `--timeout` is not like `--time`.
    error.remove(ContextKind::SuggestedArg);
    let Some(ContextValue::String(wrong)) = error.get(wrong) else {
        return error;
    };
    let position = given.iter().position(|arg| arg.to_str() == Some(wrong));
    let next = position.and_then(|position| given.get(position + 1)?.to_str());
    let Some(command) = meant(wrong, next) else {
        return error;
    };
    let what = match error.kind() {
        ErrorKind::InvalidSubcommand => "subcommand",
        _ => "argument",
    };
    let wrong = escaped(wrong.as_bytes());
    let why = format!("unrecognized {what} '{wrong}'; you may want '{command}'");
    Args::command().error(error.kind(), why)
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
