//! The kernel that the cases run on.

use anyhow::{Context as _, Result};

/// Its major and minor version.
pub fn version() -> Result<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_str()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    next()
        .zip(next())
        .with_context(|| format!("no version in {release}"))
}
