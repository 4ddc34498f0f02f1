//! What a run shows: the live lines, and what is known of them.

use std::io::{self, IsTerminal as _};

use jiff::tz::TimeZone;

use crate::{
    cli::Args,
    connection::{Connection, Hook},
    output::{Clock, Json, Printer, Stdout, Text},
    tally::Tally,
};

/// The live lines: what is to be printed, and what has been.
#[derive(Debug)]
pub struct Screen {
    /// The format.
    pub printer: Printer,
    /// Where lines go.
    pub stdout: Stdout,
    /// Whether there are no lines.
    pub quiet: bool,
    /// Connections that came out of the ring buffer.
    pub arrived: u64,
    limit: Option<u64>,
    first: FirstOnes,
}

/// The connections up to the limit of `--count`. With a limit that was reached, the summary
/// is of these and of no other.
#[derive(Clone, Debug, Default)]
pub struct FirstOnes {
    /// By client.
    pub tally: Tally,
    /// Those that only the second hook of the pair saw.
    pub second_hook_only: u64,
}

impl Screen {
    /// As `args` say. `single_port`: lines need not name the port.
    #[must_use]
    pub fn new(args: &Args, single_port: bool) -> Self {
        let zone = match args.utc {
            true => TimeZone::UTC,
            false => TimeZone::system(),
        };
        let clock = Clock::new(zone);
        let stdout = io::stdout();
        let colour = stdout.is_terminal()
            && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self {
            printer: match args.json {
                true => Printer::Json(Json::new(clock)),
                false => Printer::Text(Text::new(clock, !single_port, colour)),
            },
            stdout: Stdout::new(),
            quiet: args.quiet,
            arrived: 0,
            limit: args.count,
            first: FirstOnes::default(),
        }
    }

    /// Whether the limit of `--count` is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.arrived >= limit)
    }

    /// The connections up to the limit, if that is reached.
    #[must_use]
    pub fn first_ones(&self) -> Option<FirstOnes> {
        self.is_full().then(|| self.first.clone())
    }

    /// Whether the kernel is to report connections, or only to count them.
    #[must_use]
    pub fn wants_events(args: &Args) -> bool {
        !args.quiet || args.count.is_some()
    }

    /// Appends a connection's line, unless the limit is reached.
    pub fn show(&mut self, connection: &Connection) {
        let too_late = self.is_full();
        self.arrived += 1;
        if too_late {
            return;
        }
        if self.limit.is_some() {
            let (client, port) = (connection.remote.ip(), connection.local.port());
            self.first.tally.add(client, port, 1);
            self.first.second_hook_only += u64::from(connection.hook == Hook::Kprobe);
        }
        if !self.quiet {
            self.printer.connection(self.stdout.buffer(), connection);
            self.stdout.count_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use jiff::Timestamp;

    use super::*;
    use crate::connection::Family;

    fn connection(client: u8, hook: Hook) -> Connection {
        Connection {
            time: Timestamp::UNIX_EPOCH,
            remote: ([192, 0, 2, client], 40000).into(),
            local: ([192, 0, 2, 100], 80).into(),
            family: Family::Ipv4,
            process: None,
            netns: None,
            hook,
        }
    }

    fn screen(args: &[&str]) -> Screen {
        let args = Args::parse_from([&["conn-cli", "--utc"], args].concat());
        Screen::new(&args, true)
    }

    fn lines(screen: &mut Screen) -> usize {
        let text = String::from_utf8(screen.stdout.buffer().clone()).unwrap();
        text.lines().count()
    }

    #[test]
    fn the_limit_cuts_lines_and_summary_alike() {
        let mut screen = screen(&["--count", "2"]);
        screen.show(&connection(1, Hook::Kretprobe));
        assert!(screen.first_ones().is_none());
        screen.show(&connection(2, Hook::Kprobe));
        screen.show(&connection(3, Hook::Kprobe));
        assert_eq!(lines(&mut screen), 2);
        assert_eq!(screen.arrived, 3);
        let first = screen.first_ones().unwrap();
        assert_eq!(first.tally.connections(), 2);
        assert_eq!(first.second_hook_only, 1);
    }

    #[test]
    fn quiet_counts_without_lines() {
        let mut screen = screen(&["--quiet", "--count", "2"]);
        screen.show(&connection(1, Hook::Fentry));
        assert_eq!(lines(&mut screen), 0);
        assert_eq!(screen.arrived, 1);
    }

    #[test]
    fn without_a_limit_everything_is_shown() {
        let mut screen = screen(&[]);
        for client in 0..100 {
            screen.show(&connection(client, Hook::Fentry));
        }
        assert_eq!(lines(&mut screen), 100);
        assert!(screen.first_ones().is_none());
    }
}
