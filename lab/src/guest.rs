//! PID 1 of a guest: prepares the machine, runs what the guest is for, and powers off.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, ioctl_tiocsctty, setsid, wait};
use rustix::system::{RebootCommand, finit_module, reboot};

use crate::netns;

/// Printed when PID 1 starts.
pub const STARTED_LINE: &str = "guest: started";
/// The last line of a guest whose cases all passed.
pub const LAST_LINE_SUCCESS: &str = "guest: success";
/// Printed before the prompt of a guest in which something failed.
pub const SHELL_LINE: &str = "guest: a shell; `exit` ends the guest";
/// The last line of a guest in which something failed.
pub const LAST_LINE_FAILURE: &str = "guest: failure";

/// The path of conn-cli in the initramfs.
pub const CONN_CLI: &str = "/bin/conn-cli";
/// The directory of the kernel's modules in the initramfs, if it has any; they are loaded
/// in the order of their names.
pub const MODULES: &str = "/modules";

/// The arguments of what a guest runs in the initramfs, one a line.
pub const ARGUMENTS: &str = "/arguments";

/// The shell of a guest that gives a prompt after a failure.
pub const SHELL: &str = "/bin/sh";
/// The terminal of its prompt: the console itself cannot be one.
const TERMINAL: &str = if cfg!(target_arch = "aarch64") {
    "/dev/ttyAMA0"
} else {
    "/dev/ttyS0"
};
/// Exists in the initramfs of such a guest.
pub const SHELL_WANTED: &str = "/shell";

/// Type, mount point and options of the file systems to mount.
const MOUNTS: [(&str, &str, &str); 9] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Whether this process is the first of a guest.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Runs the command that `task` returns, in a guest that is ready for it, and powers the guest off:
/// if PID 1 returned, the kernel would panic.
pub fn main(task: impl FnOnce() -> Result<Command>) -> ExitCode {
    println!("{STARTED_LINE}");
    let last_line = match run(task) {
        Ok(()) => LAST_LINE_SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            if fs::exists(SHELL_WANTED).is_ok_and(|exists| exists)
                && let Err(error) = shell()
            {
                println!("error: {error:#}");
            }
            LAST_LINE_FAILURE
        }
    };
    println!("{last_line}");
    // The host ends a guest that cannot power itself off.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn run(task: impl FnOnce() -> Result<Command>) -> Result<()> {
    mount_all()?;
    load_modules()?;
    netns::bring_loopback_up().context("cannot bring lo up")?;
    let task = task()?.spawn().context("cannot start the guest's task")?;
    wait_for(task.id())
}

/// Gives a prompt on the console, until the shell ends.
fn shell() -> Result<()> {
    println!("{SHELL_LINE}");
    // Gives its commands their names, except those that are taken.
    let mut busybox = Command::new("/bin/busybox");
    busybox.args(["--install", "-s", "/bin"]);
    let _ = busybox.stderr(Stdio::null()).status();
    let terminal = File::options().read(true).write(true).open(TERMINAL)?;
    let mut shell = Command::new(SHELL);
    shell.arg("-i").env("PATH", "/bin").env("TERM", "linux");
    shell.stdin(terminal.try_clone()?);
    shell.stdout(terminal.try_clone()?).stderr(terminal);
    // SAFETY: between fork and exec there are two system calls and nothing else.
    unsafe { shell.pre_exec(take_terminal) };
    let shell = shell.spawn().context("cannot start a shell")?;
    // How it ends is no result.
    let _ = wait_for(shell.id());
    // The prompt may be on this line.
    println!();
    Ok(())
}

/// Makes standard input the terminal whose keys, such as Ctrl-C, control this process.
fn take_terminal() -> std::io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
}

fn mount_all() -> Result<()> {
    for (kind, path, options) in MOUNTS {
        fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
        let options = std::ffi::CString::new(options)?;
        mount(kind, path, kind, MountFlags::empty(), options.as_c_str())
            .with_context(|| format!("cannot mount {kind} on {path}"))?;
    }
    // Any user may write to /tmp.
    fs::create_dir_all("/tmp")?;
    rustix::fs::chmodat(CWD, "/tmp", 0o1777.into(), rustix::fs::AtFlags::empty())?;
    Ok(())
}

fn load_modules() -> Result<()> {
    let entries = match fs::read_dir(MODULES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot read {MODULES}"))?,
    };
    let paths: std::io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut paths = paths?;
    paths.sort();
    for path in paths {
        finit_module(File::open(&path)?, c"", 0)
            .with_context(|| format!("cannot load {}", path.display()))?;
    }
    Ok(())
}

/// Reaps every process, the orphans too, until `child` has ended.
fn wait_for(child: u32) -> Result<()> {
    loop {
        let (pid, status) = match wait(WaitOptions::empty()) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot wait for the task"),
        };
        if pid.as_raw_nonzero().get().cast_unsigned() != child {
            continue;
        }
        match status.exit_status() {
            Some(0) => return Ok(()),
            Some(code) => bail!("the task exited with {code}"),
            None => bail!("the task was killed by a signal"),
        }
    }
}
