//! What systemd is told, if it has started conn-cli as a service of `Type=notify`: that connections are counted,
//! that conn-cli still runs, and that it ends. Without `NOTIFY_SOCKET` in the environment nobody is told.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::model::{exactness::Exactness, hook::Hook};

/// The service that this process is.
#[derive(Debug)]
pub(super) struct Service {
    /// How often to say that it still runs, if that is wanted.
    watchdog: Option<Interval>,
}

impl Service {
    /// Tells that connections are counted from now on, and by which hook.
    pub(super) fn begin(hook: Hook, exactness: &Exactness) -> Self {
        let exact = if exactness.is_exact() {
            "exact"
        } else {
            "connections may be missing"
        };
        let status = format!("hook: {}, {exact}", hook.name());
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        Self {
            watchdog: sd_notify::watchdog_enabled().map(|limit| {
                // As sd_watchdog_enabled(3) recommends.
                let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            }),
        }
    }

    /// Returns when [`Self::tell_alive`] is due. Cancel safe.
    pub(super) async fn due(&mut self) {
        match &mut self.watchdog {
            Some(ticks) => _ = ticks.tick().await,
            None => std::future::pending().await,
        }
    }

    /// Tells that it still runs.
    pub(super) fn tell_alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// Tells that it ends.
    pub(super) fn end(self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// A service manager that cannot be told restarts the service: it knows why, and nobody else needs to.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = send(states) {
        log::debug!("cannot tell the service manager: {error}");
    }
}

/// Like `sd_notify::notify`, but it does not wait for a manager that reads nothing: records are to be read.
fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(lines.as_bytes(), &address).map(drop)
}
