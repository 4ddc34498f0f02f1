use super::*;

const SYN: &str = "IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0 ";
const ACCEPT: &str = r#"accept(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.1")}, [16]) = 4"#;
const PACKET: &str =
    "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 17, win 64240, length 0";
const EVENT: &str = "    [NEW] tcp      6 120 SYN_SENT src=192.0.2.1 dst=192.0.2.9 sport=37822 dport=80 [UNREPLIED] src=192.0.2.9 dst=192.0.2.1 sport=80 dport=37822";

/// What these lines are: the layers and the format.
fn guessed(lines: &[String]) -> String {
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let Some(guess) = guess(&lines, None, &Wanted::default(), true) else {
        return "nothing".to_owned();
    };
    let layers = guess.encoding.wrappers.layers().map(Wrapper::name);
    let names: Vec<_> = layers.chain([guess.encoding.format.name()]).collect();
    names.join(" > ")
}

fn guessed_line(line: String) -> String {
    guessed(&[line])
}

#[test]
fn the_parsers_decide_whatever_is_around_the_lines() {
    for (line, expected) in [
        (format!("Nov 22 14:25:37 web1 kernel: {SYN}"), "kernel-log"),
        (format!("[   12.345678] {SYN}"), "kernel-log"),
        (ACCEPT.to_owned(), "strace"),
        (PACKET.to_owned(), "tcpdump"),
        (
            format!("Nov 22 14:25:37 web1 strace[9]: {ACCEPT}"),
            "syslog headers > strace",
        ),
        (
            format!("2026-11-22T14:25:37.123456789Z {PACKET}"),
            "docker logs -t > tcpdump",
        ),
        (
            format!("2026-11-22T14:25:37.123456789Z stdout F {ACCEPT}"),
            "a container log > strace",
        ),
        (
            format!("web-1  | 2026-11-22T14:25:37.123456789Z {ACCEPT}"),
            "names of containers > docker logs -t > strace",
        ),
        (
            format!("> > 17:{ACCEPT}"),
            "a quotation > a quotation > the output of grep > strace",
        ),
        (
            format!("kern.log:Nov 22 14:25:37 web1 kernel: {SYN}"),
            "the output of grep > kernel-log",
        ),
        (
            serde_json::json!({ "log": format!("{ACCEPT}\n"), "stream": "stdout" }).to_string(),
            "JSON > strace",
        ),
        (
            "Nov 22 14:25:37 web1 cron[7]: started".to_owned(),
            "kernel-log",
        ),
        // Details of tcpdump are indented, too.
        ("\ta".to_owned(), "nothing"),
        ("a b c".to_owned(), "nothing"),
        (String::new(), "nothing"),
    ] {
        assert_eq!(guessed_line(line.clone()), expected, "{line}");
    }
}

/// A kernel log can have such times, too, and then any text.
#[test]
fn events_of_conntrack_are_no_kernel_log() {
    for blanks in ["\t", " ", "     "] {
        let line = format!("[1732285537.123456]{blanks}{EVENT}");
        assert_eq!(guessed_line(line), "conntrack");
    }
    let log = format!("[1732285537.123456] {SYN}");
    assert_eq!(guessed_line(log), "kernel-log");
}

#[test]
fn most_lines_decide() {
    let repeated = |line: &str, count| vec![line.to_owned(); count];
    assert_eq!(
        guessed(&[repeated(PACKET, 1), repeated(ACCEPT, 3)].concat()),
        "strace"
    );
    assert_eq!(
        guessed(&[repeated(PACKET, 3), repeated(ACCEPT, 1)].concat()),
        "tcpdump"
    );
    let (kernel, trace) = (
        format!("Nov 22 14:25:37 web1 kernel: {SYN}"),
        format!("Nov 22 14:25:37 web1 strace[9]: {ACCEPT}"),
    );
    assert_eq!(
        guessed(&[repeated(&kernel, 1), repeated(&trace, 3)].concat()),
        "syslog headers > strace"
    );
    assert_eq!(
        guessed(&[repeated(&kernel, 3), repeated(&trace, 1)].concat()),
        "kernel-log"
    );
    // An empty line and a banner are no sign.
    assert_eq!(
        guessed(&[repeated("", 9), repeated(PACKET, 1)].concat()),
        "tcpdump"
    );
}

#[test]
fn a_tie_is_noted() {
    let lines = [PACKET.as_bytes(), ACCEPT.as_bytes()];
    let guess = guess(&lines, None, &Wanted::default(), true).unwrap();
    let formats = [guess.encoding.format, guess.tie.unwrap()];
    assert!(
        formats.contains(&Format::Tcpdump) && formats.contains(&Format::Strace),
        "{formats:?}"
    );
}

#[test]
fn a_given_format_is_the_only_one() {
    let lines = [PACKET.as_bytes(), ACCEPT.as_bytes(), ACCEPT.as_bytes()];
    let guess = guess(&lines, Some(Format::Tcpdump), &Wanted::default(), true).unwrap();
    assert_eq!(guess.encoding, Encoding::plain(Format::Tcpdump));
    assert_eq!(guess.tie, None);
}
