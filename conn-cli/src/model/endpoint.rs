//! Where metrics are served.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

/// An address to serve at, as `--metrics` accepts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `127.0.0.1:9478`, `[::1]:9478`, or `9478`, which is on the loopback address.
    Tcp(SocketAddr),
    /// `unix:/run/conn-cli.sock`
    Unix(PathBuf),
}

/// The longest path of a Unix socket: `sun_path` of `include/uapi/linux/un.h`, with its NUL.
const MAX_PATH: usize = 107;

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(Path::new(path));
        }
        let address = match port(text) {
            Some(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            None => text.parse().map_err(|_| explain(text))?,
        };
        if address.port() == 0 {
            return Err("give a port from 1 to 65535".to_owned());
        }
        Ok(Self::Tcp(address))
    }
}

fn unix(path: &Path) -> Result<Endpoint, String> {
    let length = path.as_os_str().len();
    if length == 0 || length > MAX_PATH {
        return Err(format!("the path of a socket has 1 to {MAX_PATH} bytes"));
    }
    Ok(Endpoint::Unix(path.to_owned()))
}

/// A port alone. `parse` accepts a sign, which ports do not have.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// What is wrong with an address, where people often mean another.
fn explain(text: &str) -> String {
    const FORMS: &str = "give 9478, 127.0.0.1:9478, [::1]:9478 or unix:/run/conn-cli.sock";
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        format!("for every address of this machine give 0.0.0.0:{port} or [::]:{port}")
    } else if let Some((name, port)) = text.rsplit_once(':')
        && !name.is_empty()
        && name.parse::<IpAddr>().is_err()
        && self::port(port).is_some()
    {
        format!("give an address in place of the name: {FORMS}")
    } else {
        FORMS.to_owned()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_address() {
        for (text, shown) in [
            ("9478", "127.0.0.1:9478"),
            ("0.0.0.0:9478", "0.0.0.0:9478"),
            ("[::1]:9478", "[::1]:9478"),
            ("unix:/run/c.sock", "unix:/run/c.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_explained() {
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for (text, reason) in [
            ("", "give 9478"),
            (":9478", "0.0.0.0:9478"),
            ("localhost:9478", "in place of the name"),
            ("::1:9478", "[::1]:9478"),
            ("+1", "give 9478"),
            ("65536", "give 9478"),
            ("0", "from 1 to 65535"),
            ("127.0.0.1:0", "from 1 to 65535"),
            ("unix:", "1 to 107"),
            (&long, "1 to 107"),
            ("/run/c.sock", "unix:/run"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
