//! The version of the running kernel.

/// The kernel's major and minor version, and its release as `uname -r` prints it.
pub(crate) fn kernel_version() -> (Option<(u32, u32)>, String) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    (version(&release), release)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_strings_are_parsed() {
        assert_eq!(version("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("6.12.117+deb13"), Some((6, 12)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!(version("linux"), None);
    }
}
