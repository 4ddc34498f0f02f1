//! PID 1 of a guest: prepares the machine, runs the cases (or records, or measures) and powers off.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, wait};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Printed when PID 1 starts.
pub(crate) const STARTED_LINE: &str = "guest: started";
/// The last line of a guest whose cases all passed.
pub(crate) const LAST_LINE_SUCCESS: &str = "guest: success";
/// The last line of a guest in which something failed.
pub(crate) const LAST_LINE_FAILURE: &str = "guest: failure";

/// The path of conn-cli in the initramfs.
pub(crate) const CONN_CLI: &str = "/bin/conn-cli";
/// The path of the list of cases to run in the initramfs.
pub(crate) const CASES: &str = "/cases";
/// The directory of the kernel's modules in the initramfs, if it has any; they are loaded
/// in the order of their names.
pub(crate) const MODULES: &str = "/modules";

/// The plan of a guest for `bench live`.
pub(crate) const BENCH: &str = "/bench";
/// The plan of a guest for `bench rate`.
pub(crate) const RATE: &str = "/rate";
/// The script of a guest for `record`.
pub(crate) const RECORD: &str = "/record/main.sh";

/// Type, mount point and options of the file systems to mount.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Whether this process is the first of a guest.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1
}

/// Runs the guest and powers it off: if PID 1 returned, the kernel would panic.
pub(crate) fn main() -> ExitCode {
    println!("{STARTED_LINE}");
    let last_line = match run() {
        Ok(()) => LAST_LINE_SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            LAST_LINE_FAILURE
        }
    };
    println!("{last_line}");
    // The host ends a guest that cannot power itself off.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    mount_all()?;
    load_modules()?;
    crate::cases::netns::bring_loopback_up().context("cannot bring lo up")?;
    let task = task().spawn().context("cannot start the guest's task")?;
    wait_for(task.id())
}

/// The command that this guest runs.
fn task() -> Command {
    if fs::exists(RECORD).is_ok_and(|exists| exists) {
        let mut sh = Command::new("/bin/sh");
        sh.arg(RECORD);
        return sh;
    }
    let mut xtask = Command::new("/proc/self/exe");
    if fs::exists(BENCH).is_ok_and(|exists| exists) {
        xtask.args(["bench-guest", "--plan", BENCH]);
    } else if fs::exists(RATE).is_ok_and(|exists| exists) {
        xtask.args(["bench-rate-guest", "--plan", RATE]);
    } else {
        xtask.args(["cases", "--list", CASES, "--conn-cli", CONN_CLI]);
    }
    xtask
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
