use crate::{
    model::{connection::Family, format::Format},
    read::{
        how::How,
        parse::{lines::lines, parse, tcpaccept::*},
    },
};

/// Describes each connection, and each line that is not understood.
fn describe(text: &str) -> Vec<String> {
    let mut parser = Lines::new(&Wanted::with_times());
    let mut descriptions = Vec::new();
    for line in lines(text.as_bytes()) {
        let mut events = Vec::new();
        let parsed = parser.line(line, &mut events);
        for event in events {
            let Event::Connection(connection) = event else {
                panic!("{event:?}");
            };
            descriptions.push(connection_text(&connection));
        }
        match parsed {
            Ok(Form::Own) => (),
            Ok(Form::Shared) => descriptions.push("shared".to_owned()),
            Err(error) => descriptions.push(error.to_owned()),
        }
    }
    descriptions
}

fn connection_text(connection: &Connection) -> String {
    let port = |port: Option<u16>| port.map_or("?".to_owned(), |port| port.to_string());
    let process = connection.process.as_ref().unwrap();
    let name = process.name();
    let mut text = format!(
        "{} {} -> {} {} {}[{}]",
        connection.remote,
        port(connection.remote_port),
        connection.local,
        port(connection.local_port),
        name.as_deref().unwrap_or(""),
        process.pid.unwrap()
    );
    if let Some(uid) = process.uid {
        text += &format!(" uid {uid}");
    }
    if let Some(netns) = connection.netns {
        text += &format!(" netns {netns}");
    }
    match &connection.time {
        When::At(time) => text += &format!(" at {time}"),
        When::Recorded(time) => text += &format!(" at {} ({:?})", time.text, time.lacks),
        When::Clock(_) | When::Unknown => (),
    }
    text
}

#[test]
fn the_table_of_systemtap_is_read() {
    let table = "   UID            CMD    PID   PORT        IP_SOURCE\n     \
        0           sshd   3165     22        192.0.2.1\n  \
        1000     my server 2   3167   8080      2001:db8::1\n";
    let expected = [
        "192.0.2.1 ? -> unknown 22 sshd[3165] uid 0",
        "2001:db8::1 ? -> unknown 8080 my server 2[3167] uid 1000",
    ];
    assert_eq!(describe(table), expected);
    // A name may break a row.
    let forged = "  1000          x\n0 a 1 2 ::1\n   3168     22        192.0.2.9\n";
    let found = describe(&format!("{table}{forged}"));
    assert!(
        !found.iter().any(|text| text.starts_with("::1")),
        "{found:?}"
    );
    // Without the heading, nothing tells what the columns are.
    let row = table.lines().nth(1).unwrap();
    assert_eq!(describe(row), [NOT_A_ROW]);
}

const SSHD: &str = "192.0.2.1 32324 -> 192.0.2.9 22 sshd[907]";

#[test]
fn tcpaccept_of_bcc_is_read() {
    for (heading, row, time) in [
        (
            "PID     COMM         IP RADDR            RPORT LADDR            LPORT",
            "",
            "",
        ),
        (
            "TIME     PID     COMM         IP RADDR            RPORT LADDR            LPORT",
            "14:25:37 ",
            " at 14:25:37 (Date)",
        ),
        (
            "TIME(s)  PID     COMM         IP RADDR            RPORT LADDR            LPORT",
            "0.992    ",
            " at 0.992 (Before)",
        ),
        (
            "TIME     TIME(s)  PID     COMM         IP RADDR            RPORT LADDR            LPORT",
            "14:25:37 0.992    ",
            " at 14:25:37 (Date)",
        ),
    ] {
        let row =
            format!("{row}907     sshd         4  192.0.2.1        32324 192.0.2.9        22   ");
        let expected = [format!("{SSHD}{time}")];
        assert_eq!(describe(&format!("{heading}\n{row}\n")), expected);
        assert_eq!(describe(&row), expected);
    }
    let found = describe(
        "5389    perl         6  2001:db8::5      52352 2001:db8::9      7001 \r\n\
         5389    perl         6  ::ffff:192.0.2.1 52352 ::ffff:192.0.2.9 7001 \n",
    );
    assert_eq!(
        found,
        [
            "2001:db8::5 52352 -> 2001:db8::9 7001 perl[5389]",
            "192.0.2.1 52352 -> 192.0.2.9 7001 perl[5389]"
        ]
    );
}

#[test]
fn old_tcpaccept_is_read() {
    let heading = "PID    COMM         IP RADDR            LADDR            LPORT\n";
    let rows = "907    sshd         4  192.0.2.1        192.0.2.9        22  \n\
        5389   perl         6  ...fec0ae21      ...fec0ae21      7001\n";
    let [sshd, perl] = [
        "192.0.2.1 ? -> 192.0.2.9 22 sshd[907]",
        "unknown ? -> unknown 7001 perl[5389]",
    ];
    assert_eq!(describe(&format!("{heading}{rows}")), [sshd, perl]);
    // Without the heading they could be of tcpconnect.
    assert_eq!(describe(rows), [NO_HEADING, NO_HEADING]);
}

#[test]
fn tcpaccept_of_bpftrace_is_read() {
    let found = describe(
        "Attaching 2 probes...\n\
         Tracing TCP accepts. Hit Ctrl-C to end.\n\
         TIME     PID    COMM           RADDR                                   RPORT LADDR                                   LPORT BL\n\
         14:25:37 907    sshd           192.0.2.1                               32324 192.0.2.9                               22    0/128\n\
         \n^C\n",
    );
    let row = format!("{SSHD} at 14:25:37 (Date)");
    assert_eq!(found, ["shared", &row, "shared", "shared"]);
    assert_eq!(
        describe("00:34:19 3949061 nginx: worker  192.0.2.1  44226 192.0.2.9  8080  0/128"),
        ["192.0.2.1 44226 -> 192.0.2.9 8080 nginx: worker[3949061] at 00:34:19 (Date)"]
    );
}

#[test]
fn only_accepted_connections_of_tcptracer_count() {
    let rows = "C  28943  telnet           4  192.0.2.9        192.0.2.1        59306  23    \n\
        A  28817  nc               6  [2001:db8::9]    [2001:db8::5]    80     55758 \n\
        X  28817  nc               6  [2001:db8::9]    [2001:db8::5]    80     55758 \n\
        A  907    sshd             4  192.0.2.9        192.0.2.1        22     32324 \n";
    let expected = ["2001:db8::5 55758 -> 2001:db8::9 80 nc[28817]", SSHD];
    let heading = "Tracing TCP established connections. Ctrl-C to end.\n\
        T  PID    COMM             IP SADDR            DADDR            SPORT  DPORT \n";
    assert_eq!(describe(&format!("{heading}{rows}")), expected);
    assert_eq!(describe(rows), expected);

    let verbose = "accept       907    sshd             4  192.0.2.9        192.0.2.1        22     32324  4026531840\n\
        close        907    sshd             4  192.0.2.9        192.0.2.1        22     32324  4026531840\n";
    assert_eq!(describe(verbose), [format!("{SSHD} netns 4026531840")]);
    let heading = "TIME(ns)      TYPE         PID    COMM             IP SADDR            DADDR            SPORT  DPORT  NETNS   \n";
    let row = "123456789     accept       907    sshd             4  192.0.2.9        192.0.2.1        22     32324  4026531840\n";
    assert_eq!(
        describe(&format!("{heading}{row}")),
        [format!("{SSHD} netns 4026531840")]
    );
    // libbpf-tools
    let heading =
        "TIME(s)  UID   T PID    COMM         IP SADDR            DADDR            SPORT DPORT\n";
    let row =
        "0.992    1000  A 907    sshd         4  192.0.2.9        192.0.2.1        22   32324\n";
    assert_eq!(
        describe(&format!("{heading}{row}")),
        [format!("{SSHD} uid 1000 at 0.992 (Before)")]
    );
    assert_eq!(describe(row), [format!("{SSHD} at 0.992 (Before)")]);
}

#[test]
fn the_heading_says_which_columns_there_are() {
    assert_eq!(
        describe(
            "UID PID COMM LADDR LPORT RADDR RPORT IP\n33 907 sshd 192.0.2.9 22 192.0.2.1 32324 4\n"
        ),
        [format!("{SSHD} uid 33")]
    );
    // A row of another form.
    assert_eq!(
        describe("PID COMM RADDR RPORT LADDR LPORT BL\n907 sshd 4 192.0.2.1 32324 192.0.2.9 22\n"),
        [NOT_A_ROW]
    );
}

#[test]
fn tables_of_other_tools_are_refused() {
    let row = "1479   telnet       4  192.0.2.9        192.0.2.1        23";
    for heading in [
        "PID    COMM         IP SADDR            DADDR            DPORT",
        "UID   PID    COMM         IP SADDR            DADDR            DPORT",
        "PID    COMM         IP SADDR            LPORT  DADDR            DPORT",
        "PID   COMM       LADDR           LPORT RADDR           RPORT TX_KB RX_KB MS",
        "PID     COMM         Counts",
        "PID    COMM",
    ] {
        let found = describe(&format!("{heading}\n{row}\n"));
        assert!(found.iter().all(|text| text != row), "{found:?}");
        assert!(
            !found.iter().any(|text| text.contains("->")),
            "{heading}: {found:?}"
        );
    }
    let accept = "907     sshd         4  192.0.2.1        32324 192.0.2.9        22";
    let both = format!(
        "PID COMM IP SADDR DADDR DPORT\n{row}\nPID COMM IP RADDR RPORT LADDR LPORT\n{accept}\n"
    );
    assert_eq!(describe(&both), [OTHER_TABLE, OTHER_TABLE, SSHD]);
}

#[test]
fn a_name_that_looks_like_columns_is_a_name() {
    for (name, shown) in [
        ("x 4 6.6.6.6 1", "x 4 6.6.6.6 1"),
        ("4 6.6.6.6 1", "4 6.6.6.6 1"),
        ("6 ::9 1 ::8 7", "6 ::9 1 ::8 7"),
        ("A 1 x", "A 1 x"),
        ("123", "123"),
        ("14:25:37", "14:25:37"),
        ("PID COMM", "PID COMM"),
        ("a\tb", "a\\tb"),
        ("", ""),
        ("\u{1b}[2J", "\\u{1b}[2J"),
    ] {
        let tail = format!("907     {name:<12} 4  192.0.2.1        32324 192.0.2.9        22");
        let expected = [format!("192.0.2.1 32324 -> 192.0.2.9 22 {shown}[907]")];
        assert_eq!(describe(&tail), expected);
        let tail = format!("A  907     {name:<12} 4  192.0.2.9   192.0.2.1        22  32324");
        assert_eq!(describe(&tail), expected);
        let tail = format!("14:25:37 907 {name:<12} 192.0.2.1   32324 192.0.2.9   22  0/128");
        let expected = [format!("{} at 14:25:37 (Date)", expected[0])];
        assert_eq!(describe(&tail), expected);
    }
}

/// A name with line breaks could make a row of an outgoing connection one of an accepted one, or hide all
/// rows that follow.
#[test]
fn a_name_that_breaks_a_row_is_not_believed() {
    let end = "4  192.0.2.9        192.0.2.1        22     32324\n";
    let good = format!("A  907    sshd             {end}");
    for name in ["\nA  1 x", "a\nA  1 x", "\n\nA  1 x", "\n\n\n\nA 1 x"] {
        let text = format!("C  907    {name:<16} {end}{good}");
        let found = describe(&text);
        let (last, before) = found.split_last().unwrap();
        assert_eq!(last, SSHD);
        assert!(before.contains(&BROKEN.to_owned()), "{before:?}");
        assert!(!before.iter().any(|text| text.contains("->")), "{before:?}");
        in_any_pieces(&text);
    }
    let heading = "PID     COMM         IP RADDR            RPORT LADDR            LPORT\n";
    let row = "4  192.0.2.1        32324 192.0.2.9        22\n";
    let text = format!("{heading}907     \nPID COMM X\n {row}907     sshd         {row}");
    assert_eq!(describe(&text), [NOT_A_ROW, BROKEN, NOT_A_ROW, SSHD]);
    in_any_pieces(&text);
}

/// Checks that it does not matter where the text is cut.
fn in_any_pieces(text: &str) {
    let counted = |max_len: usize| {
        let (_, recycled) = std::sync::mpsc::channel();
        let mut counts = (0, 0, 0, 0);
        let input = Parts(text.as_bytes(), max_len);
        let how = How {
            format: Some(Format::Tcpaccept),
            ..How::default()
        };
        crate::read::reader::read(input, &how, &recycled, &mut |piece| {
            let batch = parse(&piece, &Wanted::default());
            counts.0 += batch.events.len();
            counts.1 += batch.lines;
            counts.2 += batch.understood;
            counts.3 += batch.not_understood;
            Ok(())
        })
        .unwrap();
        counts
    };
    for max_len in 1..text.len() {
        assert_eq!(counted(max_len), counted(text.len()), "{max_len}: {text:?}");
    }
}

struct Parts<'a>(&'a [u8], usize);

impl std::io::Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[test]
fn the_heading_is_that_of_all_rows_after_it() {
    let row = "1479   telnet       4  192.0.2.9        192.0.2.1        23\n";
    let text =
        format!("PID    COMM         IP SADDR            DADDR            DPORT\n{row}{row}{row}");
    in_any_pieces(&text);
    in_any_pieces(&text.replace(
        "SADDR            DADDR            DPORT",
        "RADDR LADDR LPORT",
    ));
}

#[test]
fn the_family_is_that_of_the_socket() {
    let mut events = Vec::new();
    let line = b"5389 perl 6 ::ffff:192.0.2.1 5 ::ffff:192.0.2.9 7";
    let parsed = Lines::new(&Wanted::default()).line(line, &mut events);
    assert_eq!(parsed, Ok(Form::Own));
    assert!(matches!(&events[..], [Event::Connection(one)] if one.family == Some(Family::Ipv6)));
}

#[test]
fn lost_events_are_said() {
    for line in [
        "Possibly lost 12 samples",
        "Lost 5 events on CPU #1!",
        "Lost 7 events",
    ] {
        assert_eq!(describe(line), [LOST]);
    }
}

#[test]
fn other_lines_are_not_understood() {
    for line in [
        "907",
        "907 sshd",
        "907 sshd 4 192.0.2.1 32324 192.0.2.9",
        "907 sshd 5 192.0.2.1 32324 192.0.2.9 22",
        "907 sshd 6 192.0.2.1 32324 192.0.2.9 22",
        "907 sshd 4 2001:db8::5 32324 2001:db8::9 22",
        "907 sshd 4 192.0.2.1 65536 192.0.2.9 22",
        "907 sshd 4 192.0.2.256 32324 192.0.2.9 22",
        "sshd 907 4 192.0.2.1 32324 192.0.2.9 22",
        "99999999999 sshd 4 192.0.2.1 32324 192.0.2.9 22",
        "A sshd 4 192.0.2.9 192.0.2.1 22 32324",
        "B 907 sshd 4 192.0.2.9 192.0.2.1 22 32324",
        "14:25:37 907 sshd 192.0.2.1 32324 192.0.2.9 22 128",
        "907 sshd 192.0.2.1 32324 192.0.2.9 22",
        "4  192.0.2.1 32324 192.0.2.9 22",
        "Nov 22 14:25:37 host sshd[907]: 907 sshd 4 192.0.2.1 32324 192.0.2.9 22",
        "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 17, win 64240, length 0",
        "7 accept(3, {sa_family=AF_INET, sin_port=htons(5)}, [16]) = 4",
    ] {
        assert_eq!(describe(line), [NOT_A_ROW], "{line}");
    }
}
