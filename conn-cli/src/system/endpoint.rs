//! Listens where metrics are served.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    fs::Mode,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::umask,
};

use crate::model::endpoint::Endpoint;

/// What a new Unix socket does not permit: anything to others, who may neither read nor write.
const UMASK: Mode = Mode::from_raw_mode(0o117);

/// A listening socket, which accepts without blocking.
#[derive(Debug)]
pub(crate) enum Bound {
    /// Of TCP.
    Tcp(TcpListener),
    /// A Unix socket, and its file.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, which is removed on drop.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Its device and inode: another run may have put its own in this place.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If this fails, the next run removes it.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens there. A socket without a listener is replaced.
///
/// # Errors
/// Why that is not possible.
pub(crate) fn bind(endpoint: &Endpoint) -> anyhow::Result<Bound> {
    let bound = match endpoint {
        Endpoint::Tcp(address) => TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(listener))
        }),
        Endpoint::Unix(path) => bind_unix(path).and_then(|listener| {
            let file = SocketFile::at(path)?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Unix(listener, file))
        }),
    };
    bound.with_context(|| format!("cannot serve metrics at {endpoint}"))
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let bind = || {
        let before = umask(UMASK);
        let listener = UnixListener::bind(path);
        umask(before);
        listener
    };
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            bind()
        }
        result => result,
    }
}

/// Whether this is a socket without a listener.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // It does not wait for somebody who listens and does not accept.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let refused = || {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    is_socket && refused() == Err(Errno::CONNREFUSED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("conn-cli-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let endpoint = Endpoint::Unix(path.clone());
        // As after kill -9.
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind(&endpoint).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = format!("{:#}", bind(&endpoint).unwrap_err());
        assert!(error.contains("Address already in use"), "{error}");
        drop(bound);
        assert!(!path.exists());
        let bound = bind(&endpoint).unwrap();
        fs::remove_file(&path).unwrap();
        let of_others = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
        drop(of_others);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "content").unwrap();
        assert!(bind(&endpoint).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"content");
        fs::remove_dir_all(&directory).unwrap();
    }
}
