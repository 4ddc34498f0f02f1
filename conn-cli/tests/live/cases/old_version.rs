//! A kernel that tells an old version, as one does for old programs, or one to which features were
//! ported back.

use anyhow::Result;

use super::exact::Count;
use super::leftovers;
use crate::context::Context;

fn pretending(context: &Context) -> Context {
    Context {
        old_uname: true,
        ..context.clone()
    }
}

/// The version changes nothing.
pub(crate) fn counts(context: &Context) -> Result<String> {
    let (figures, _) = Count::PLAIN.trace(&pretending(context))?;
    Ok(figures.to_string())
}

/// Nor does it make conn-cli attach in a way that outlives it.
pub(crate) fn killed(context: &Context) -> Result<String> {
    leftovers::killed(&pretending(context))
}
