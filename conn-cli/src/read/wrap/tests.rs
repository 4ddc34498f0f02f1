use super::*;

fn peel(wrapper: Wrapper, line: &str) -> Option<(String, String)> {
    let wrappers = Wrappers::default().with(wrapper).unwrap();
    let inner = wrappers.peel(line.as_bytes(), true)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let [tag, ..] = inner.tags;
    let tag = tag.map_or(String::new(), |tag| text(&tag));
    Some((text(&inner.line), tag))
}

#[test]
fn headers_of_syslog_daemons_and_journalctl_are_taken_off() {
    for line in [
        "Feb 03 21:23:30 web1 strace[993]: [pid 7] x",
        "Feb  3 21:23:30 web1 strace: [pid 7] x",
        "Feb 03 21:23:30 strace[993]: [pid 7] x",
        "2026-02-03T21:23:30+0000 web1 strace[993]: [pid 7] x",
        "2026-02-03T21:23:30.123456+00:00 web1 strace[993]: [pid 7] x",
        "<14>Feb 03 21:23:30 web1 strace[993]: [pid 7] x",
        "Tue 2026-02-03 21:23:30 UTC web1 strace[993]: [pid 7] x",
        "1770153810.123456 web1 strace[993]: [pid 7] x",
        "[   12.345678] web1 strace[993]: [pid 7] x",
        "Feb 03 21:23:31 relay Feb 03 21:23:30 web1 strace[993]: [pid 7] x",
        "2026-02-03T21:23:31Z relay <14>2026-02-03T21:23:30Z web1 strace: [pid 7] x",
    ] {
        let inner = Some(("[pid 7] x".to_owned(), "strace".to_owned()));
        assert_eq!(peel(Wrapper::Syslog, line), inner, "{line}");
    }
    for line in [
        "Feb 03 21:23:30 web1 x",
        "Feb 03 21:23:30 web1 said by strace: x",
        "Feb 03 21:23:30 web1 strace[a]: x",
        "strace[993]: x",
    ] {
        assert_eq!(peel(Wrapper::Syslog, line), None, "{line}");
    }
}

#[test]
fn what_containers_grep_and_mails_put_before_a_line_is_taken_off() {
    for (wrapper, line, inner) in [
        (Wrapper::Time, "2026-11-22T14:25:37.123456789Z a b", "a b"),
        (Wrapper::Time, "2026-11-22T14:25:37.1Z a b", "a b"),
        (
            Wrapper::Cri,
            "2026-11-22T14:25:37.123456789Z stdout F a b",
            "a b",
        ),
        (
            Wrapper::Cri,
            "2026-11-22T14:25:37.12+01:00 stderr P a b",
            "a b",
        ),
        (Wrapper::Container, "web-1  | a b", "a b"),
        (Wrapper::Container, "web-1  |", ""),
        (Wrapper::Container, "[pod/web-5d4f/nginx] a b", "a b"),
        (Wrapper::Grep, "17:a b", "a b"),
        (Wrapper::Grep, "17-a b", "a b"),
        (Wrapper::Grep, "    17\ta b", "a b"),
        (Wrapper::Grep, "/var/log/kern.log:17:a b", "a b"),
        (Wrapper::Grep, "trace:17:a b", "a b"),
        (Wrapper::Grep, "my-trace.log-17-a b", "a b"),
        (Wrapper::Grep, "kern.log.1:a b", "a b"),
        (
            Wrapper::Grep,
            "syslog:Nov 22 14:25:37 a b",
            "Nov 22 14:25:37 a b",
        ),
        (Wrapper::Grep, "trace.txt:14:25:37.5 a b", "14:25:37.5 a b"),
        (Wrapper::Grep, "trace.txt-14:25:37.5 a b", "14:25:37.5 a b"),
        (
            Wrapper::Grep,
            "/var/log/kern.log-Nov 22 14:25:37 a b",
            "Nov 22 14:25:37 a b",
        ),
        (
            Wrapper::Grep,
            "my-kern.log-2026-11-22T14:25:37Z a b",
            "2026-11-22T14:25:37Z a b",
        ),
        (
            Wrapper::Grep,
            "/var/log/syslog-2026-11-22:Nov 22 14:25:37 a b",
            "Nov 22 14:25:37 a b",
        ),
        (Wrapper::Grep, "17:14:25:37.5 a b", "14:25:37.5 a b"),
        (Wrapper::Grep, "trace-17-14:25:37 a b", "14:25:37 a b"),
        (
            Wrapper::Grep,
            "kern.log:2026-11-22T14:25:37Z a b",
            "2026-11-22T14:25:37Z a b",
        ),
        (
            Wrapper::Grep,
            "kern.log-17-2026-11-22T14:25:37Z a b",
            "2026-11-22T14:25:37Z a b",
        ),
        (Wrapper::Grep, "--", ""),
        (Wrapper::Quote, "> a b", "a b"),
        (Wrapper::Quote, ">a b", "a b"),
    ] {
        let peeled = peel(wrapper, line).map(|(line, _)| line);
        assert_eq!(peeled.as_deref(), Some(inner), "{line}");
    }
    for (wrapper, line) in [
        (Wrapper::Time, "a b"),
        (Wrapper::Cri, "2026-11-22T14:25:37.123456789Z a F b"),
        (Wrapper::Container, "a b | c"),
        (Wrapper::Container, "| c"),
        (Wrapper::Grep, "kernel: a b"),
        (Wrapper::Grep, "a b"),
        (Wrapper::Grep, "  17:a b"),
        (Wrapper::Grep, "2026-11-22T14:25:37Z web1 nginx: a"),
        (Wrapper::Grep, "2026-11-22 14:25:37 web1 nginx: a"),
        (Wrapper::Grep, "[2026-11-22T14:25:37Z] a"),
        (Wrapper::Grep, "[22/Nov/2026:14:25:37 +0000] a"),
        (Wrapper::Grep, "14:25:37 a"),
        (Wrapper::Grep, "time=2026-11-22T14:25:37Z msg=a"),
        (Wrapper::Quote, "a > b"),
    ] {
        assert_eq!(peel(wrapper, line), None, "{line}");
    }
}

#[test]
fn the_line_in_a_json_object_is_taken_out() {
    for (line, inner, tag) in [
        (
            r#"{"log":"a\tb\n","stream":"stdout","time":"2026-11-22T14:25:37.123456789Z"}"#,
            "a\tb",
            "",
        ),
        (
            r#"{"MESSAGE":"a","SYSLOG_IDENTIFIER":"strace","__REALTIME_TIMESTAMP":"1770153810123456"}"#,
            "a",
            "strace",
        ),
        (
            r#"{"message":"a","process":{"name":"nginx"}}"#,
            "a",
            "nginx",
        ),
        (
            r#"{"message":"a","tag":null,"log":{"syslog":{"appname":"nginx"}}}"#,
            "a",
            "nginx",
        ),
        (
            r#"{"@timestamp":"2026-11-22T14:25:37.000Z","message":"a","msg":"b"}"#,
            "a",
            "",
        ),
        (r#"{"log":"a\r\n","stream":"stdout"}"#, "a", ""),
        (r#"{"syslogtag":"sshd[12]:","message":" a"}"#, "a", "sshd"),
        (
            r#"{"short_message":"  a","tag":"kernel:"}"#,
            "  a",
            "kernel",
        ),
        (
            r#"{"short_message":"a","_application_name":"sshd"}"#,
            "a",
            "sshd",
        ),
        (
            r#"{"message":"a","syslog":{"identifier":"sshd"}}"#,
            "a",
            "sshd",
        ),
        (
            r#"{"line":"a","log":{"syslog":{"appname":"sshd"}}}"#,
            "a",
            "sshd",
        ),
    ] {
        let inner = Some((inner.to_owned(), tag.to_owned()));
        assert_eq!(peel(Wrapper::Json, line), inner, "{line}");
    }
    for line in [
        r#"{"message":17}"#,
        r#"{"message":"a\nb"}"#,
        r#"{"text":"a"}"#,
        r#"{"message":"a""#,
        r#"["message"]"#,
        r#"{"message":"x","message":"a"}"#,
        r#"{"program":"nginx","message":"a","program":"strace"}"#,
    ] {
        assert_eq!(peel(Wrapper::Json, line), None, "{line}");
    }
}

#[test]
fn each_tag_must_be_believed() {
    for (line, outer, is_strace) in [
        (
            r#"{"message":"Feb 03 21:23:30 web1 strace[9]: a","program":"strace"}"#,
            Wrapper::Json,
            true,
        ),
        (
            r#"{"message":"Feb 03 21:23:30 web1 strace[9]: a"}"#,
            Wrapper::Json,
            true,
        ),
        (
            r#"{"message":"Feb 03 21:23:30 web1 nginx: a","program":"strace"}"#,
            Wrapper::Json,
            false,
        ),
        (
            r#"{"message":"Feb 03 21:23:30 web1 strace: a","program":"nginx"}"#,
            Wrapper::Json,
            false,
        ),
        (
            r#"{"message":"Feb 03 21:23:30 web1 strace: a","SYSLOG_IDENTIFIER":["strace","strace"]}"#,
            Wrapper::Json,
            false,
        ),
        (
            "Feb 03 21:23:30 web1 nginx: Feb 03 21:23:30 web1 strace: a",
            Wrapper::Syslog,
            false,
        ),
    ] {
        let both = Wrappers::default().with(outer).unwrap();
        let both = both.with(Wrapper::Syslog).unwrap();
        let tags = both.peel(line.as_bytes(), false).unwrap().tags;
        let is_believed = |any_program| {
            let wanted = Wanted {
                any_program,
                ..Wanted::default()
            };
            is_believed(Format::Strace, &tags, &wanted)
        };
        assert_eq!(
            (is_believed(false), is_believed(true)),
            (is_strace, true),
            "{line}"
        );
    }
    assert!(is_believed(Format::Strace, &[], &Wanted::default()));
    for line in [
        r#"{"_TRANSPORT":"syslog","_UID":"1000","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"a"}"#,
        r#"{"_TRANSPORT":"syslog","_UID":"1000","SYSLOG_IDENTIFIER":"ulogd","MESSAGE":"a"}"#,
        r#"{"_TRANSPORT":"stdout","MESSAGE":"a"}"#,
    ] {
        let json = Wrappers::default().with(Wrapper::Json).unwrap();
        let tags = json.peel(line.as_bytes(), false).unwrap().tags;
        let wanted = Wanted::default();
        assert!(!is_believed(Format::KernelLog, &tags, &wanted), "{line}");
    }
}

#[test]
fn there_are_not_more_layers_than_fit() {
    let mut wrappers = Wrappers::default();
    for _ in 0..MAX_LAYERS {
        wrappers = wrappers.with(Wrapper::Quote).unwrap();
    }
    assert_eq!(wrappers.with(Wrapper::Quote), None);
    let grep = Wrappers::default().with(Wrapper::Grep).unwrap();
    assert_eq!(grep.with(Wrapper::Grep), None);
    assert_eq!(&*wrappers.peel(b"> > > a", false).unwrap().line, b"a");
    assert!(wrappers.peel(b"> > a", false).is_none());
}
