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
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::ArgumentConflict => return options_after(error, given),
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

/// The same error; if it is about options before a command, with the command that has them after it.
fn options_after(error: Error, given: &[OsString]) -> Error {
    let Some(ContextValue::String(command)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let mut why = format!("put the options after {command}");
    // The word may also be the value of an option.
    let moved = (1..given.len())
        .filter(|index| given[*index].to_str() == Some(command))
        .map(|index| {
            let mut args = given.to_vec();
            args[1..=index].rotate_right(1);
            args
        });
    if let Some(args) = moved
        .into_iter()
        .find(|args| Args::try_parse_from(args).is_ok())
    {
        let words: Vec<String> = args[1..]
            .iter()
            .map(|arg| escaped(arg.as_encoded_bytes()))
            .collect();
        why += &format!(": conn-cli {}", words.join(" "));
    }
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
