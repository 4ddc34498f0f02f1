//! Kernel settings that a case changes.

use std::fs;

use anyhow::{Context as _, Result};

/// A file of `/proc` or `/sys` whose value is changed until this is dropped.
pub struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    /// Changes the value of the file at `path`.
    pub fn set(path: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        fs::write(path, value).with_context(|| format!("cannot write {path}"))?;
        let before = current_value(&before).to_owned();
        Ok(Self { path, before })
    }
}

/// If there are several words, the one in parentheses is the value.
fn current_value(text: &str) -> &str {
    let after = text.split_once('(').map_or(text, |(_, after)| after);
    after.split_once(')').map_or(text, |(value, _)| value)
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The kernel accepted this value before.
        let _ = fs::write(self.path, &self.before);
    }
}
