//! The page of `conn-cli check`.

use super::put;
use crate::model::check::{Check, HookCheck};

/// The page as text, or as one line of JSON.
#[must_use]
pub(crate) fn check(check: &Check, json: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if json {
        serde_json::to_writer(&mut out, check).expect("writing to memory does not fail");
        out.push(b'\n');
        return out;
    }
    for property in &check.machine {
        put(
            &mut out,
            format_args!("{:22}  {}\n", property.name, property.value),
        );
    }
    out.push(b'\n');
    for hook in &check.hooks {
        put(
            &mut out,
            format_args!("{:22}  {}\n", hook.hook.name(), verdict(hook)),
        );
    }
    out.push(b'\n');
    for used in &check.uses {
        let titles: Vec<String> = used.hooks.iter().map(ToString::to_string).collect();
        let hooks = match titles[..] {
            [] => "would not start".to_owned(),
            _ => titles.join(", "),
        };
        put(&mut out, format_args!("{:22}  {hooks}\n", used.options));
    }
    out.extend(if check.counts_accepts_exactly {
        b"\nEvery accepted connection can be counted on this machine.\n".as_slice()
    } else {
        b"\nNo hook is sure to see every accepted connection on this machine.\n"
    });
    out
}

fn verdict(hook: &HookCheck) -> String {
    let mut line = match hook.exact {
        Some(true) => format!("exact: {}", hook.reason),
        Some(false) => format!("not exact: {}", hook.reason),
        None => format!("does not work: {}", hook.reason),
    };
    if let Some(remedy) = &hook.remedy {
        line += &format!(": {remedy}");
    }
    match &hook.not_tested {
        Some(why) => line += &format!("; not self-tested: {why}"),
        None if hook.works => line += "; self-test passed",
        None => (),
    }
    line
}
