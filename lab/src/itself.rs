//! The running program, started again as a helper of its own: only one program has to be in a guest.

use std::ffi::OsString;
use std::process::Command;

/// The first argument of a program that is started as a helper.
const FLAG: &str = "--as";

/// A command that starts this program as the helper `name`.
pub fn command(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([FLAG, name]);
    command
}

/// The command line of the helper that this program was started as, if it was.
pub fn arguments() -> Option<Vec<OsString>> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    (arguments.get(1)? == FLAG).then(|| {
        arguments.remove(1);
        arguments
    })
}
