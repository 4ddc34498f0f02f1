//! A terminal for a program: what it shows there, and the keys that are pressed.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{DEADLINE, Process};

/// The lines and columns of the screen.
pub const ROWS: u16 = 24;
/// How many characters a line has.
pub const COLUMNS: u16 = 80;

/// The key Ctrl-C.
pub const CTRL_C: u8 = 3;

/// A program in the foreground of a pseudo-terminal of its own.
pub struct Terminal {
    /// The program.
    pub process: Process,
    keyboard_and_screen: File,
    shown: Vec<u8>,
}

impl Terminal {
    /// Starts a program, all of whose streams are the terminal, except standard output if that is given.
    pub fn start(name: &'static str, mut command: Command, stdout: Option<Stdio>) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context("cannot make a pseudo-terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let size = Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size)?;
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        command.stdin(terminal.try_clone()?);
        command.stdout(match stdout {
            Some(stdout) => stdout,
            None => terminal.try_clone()?.into(),
        });
        command.stderr(terminal).env("TERM", "xterm");
        // SAFETY: between fork and exec there are two system calls and nothing else.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                Ok(ioctl_tiocsctty(rustix::stdio::stderr())?)
            });
        }
        // The command has the last descriptors of the terminal here: it must hang up with the program.
        let process = Process::spawn(name, &mut command)?;
        drop(command);
        Ok(Self {
            process,
            keyboard_and_screen: master.into(),
            shown: Vec::new(),
        })
    }

    /// Waits until it has shown this.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        // A line that is drawn again and again is always more to read.
        let started = Instant::now();
        while !self.shown().contains(text) {
            let goes_on = self.read()? && started.elapsed() < DEADLINE;
            ensure!(goes_on, "never showed {text:?}: {:?}", self.shown());
        }
        Ok(())
    }

    /// Presses a key.
    pub fn press(&mut self, key: u8) -> Result<()> {
        Ok(self.keyboard_and_screen.write_all(&[key])?)
    }

    /// Waits for the end, and returns how it ended and all that was shown.
    pub fn end(mut self) -> Result<(ExitStatus, String)> {
        while self.read()? {}
        Ok((self.process.wait()?, self.shown()))
    }

    /// All that it has shown, with the escape sequences.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits for more; false once the program has hung up.
    fn read(&mut self) -> Result<bool> {
        let limit = Timespec::try_from(DEADLINE)?;
        let mut polled = [PollFd::new(&self.keyboard_and_screen, PollFlags::IN)];
        if poll(&mut polled, Some(&limit))? == 0 {
            bail!("nothing shown for {DEADLINE:?}: {:?}", self.shown());
        }
        let mut buffer = [0; 4096];
        match self.keyboard_and_screen.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.shown.extend_from_slice(&buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            // The program's end has hung up.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(false),
            Err(error) => Err(error).context("cannot read the terminal"),
        }
    }
}
