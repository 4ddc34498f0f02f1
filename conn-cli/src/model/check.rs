//! What this machine allows: the result of `conn-cli check`.

use serde::Serialize;

use super::hook::Hook;

/// What this machine is and allows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// What it is: names and values.
    pub machine: Vec<Property>,
    /// What each hook does here.
    pub hooks: Vec<HookCheck>,
    /// The hooks that would be used.
    pub uses: Vec<Use>,
    /// Whether every accepted connection can be counted.
    pub counts_accepts_exactly: bool,
}

/// A property of the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// What a hook does here.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HookCheck {
    /// The hook.
    pub hook: Hook,
    /// Whether it attaches and runs.
    pub works: bool,
    /// Whether it is exact, if it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Why it is exact, or not, or does not work.
    pub reason: String,
    /// What to do about it, if it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Why it was not self-tested, if it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_tested: Option<String>,
}

/// The hooks that some options would use.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Use {
    /// The options.
    pub options: &'static str,
    /// The hooks, the one that counts first. Empty if tracing would not start.
    pub hooks: Vec<Hook>,
}
