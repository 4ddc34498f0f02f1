//! Logs of sensors and clouds, in which a connection can have several lines.

use super::{read_from, text};

/// The lines of the summary that have a count, and what is said of repeated SYNs.
fn counts(log: &str, arguments: &[&str]) -> (Vec<String>, bool) {
    let output = read_from(log.as_bytes(), &[&["--quiet"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{log}");
    let counts = text(&output.stdout)
        .lines()
        .filter(|line| line.contains(": "))
        .map(str::to_owned)
        .collect();
    let is_by_ports =
        text(&output.stderr).contains("known as retransmitted only by addresses, ports");
    (counts, is_by_ports)
}

/// A row of conn.log, without a heading.
fn zeek(second: u32, client: u8, state: &str, history: &str) -> String {
    format!(
        "{}.5\tCHhAvVGS1DHFjwGM9\t192.0.2.{client}\t37822\t192.0.2.9\t80\ttcp\t-\t-\t-\t-\t{state}\t-\t-\t0\t{history}\n",
        1_700_000_000 + second
    )
}

#[test]
fn an_attempt_that_zeek_gave_up_is_not_counted_again() {
    let log = [
        zeek(0, 1, "S0", "S"),
        zeek(7, 1, "S0", "S"),
        zeek(15, 1, "SF", "ShADadFf"),
        // The same port again, and not sorted by the beginning.
        zeek(60, 2, "SF", "ShADadFf"),
        zeek(50, 2, "REJ", "Sr"),
        zeek(61, 2, "RSTO", "ShADR"),
        zeek(400, 1, "S0", "S"),
        zeek(401, 3, "OTH", "DadA"),
    ]
    .concat();
    let expected = ["192.0.2.2: 3", "192.0.2.1: 2"].map(str::to_owned);
    assert_eq!(counts(&log, &[]), (expected.to_vec(), true));
}

#[test]
fn a_flow_through_two_interfaces_is_one_connection() {
    let log =
        "version interface-id srcaddr dstaddr srcport dstport protocol start tcp-flags log-status
3 eni-1 192.0.2.1 192.0.2.9 37822 80 6 1700000000 3 OK
3 eni-2 192.0.2.1 192.0.2.9 37822 80 6 1700000031 3 OK
3 eni-2 192.0.2.9 192.0.2.1 80 37822 6 1700000031 19 OK
3 eni-2 192.0.2.1 192.0.2.9 37822 80 6 1700000400 2 OK
";
    assert_eq!(counts(log, &[]), (vec!["192.0.2.1: 2".to_owned()], true));
}

/// The heading comes to each of the pieces that are parsed at the same time.
#[test]
fn all_rows_have_the_columns_of_the_heading() {
    let rows = |row: &dyn Fn(usize) -> String| (1..=20_000).map(row).collect::<String>();
    let zeek = rows(&|port| format!("S\ttcp\t80\t192.0.2.9\t{port}\t192.0.2.1\n"));
    let zeek =
        format!("#fields\thistory\tproto\tid.resp_p\tid.resp_h\tid.orig_p\tid.orig_h\n{zeek}");
    let vpc = rows(&|port| format!("2 6 80 {port} 192.0.2.9 192.0.2.1\n"));
    let vpc = format!("tcp-flags protocol dstport srcport dstaddr srcaddr\n{vpc}");
    let numbered = |log: &str| -> String {
        let number = |(index, line): (usize, &str)| format!("{}:{line}\n", index + 1);
        log.lines().enumerate().map(number).collect()
    };
    for log in [&zeek, &vpc, &numbered(&zeek), &numbered(&vpc)] {
        for jobs in ["1", "3"] {
            let (counts, _) = counts(log, &["--jobs", jobs]);
            assert_eq!(counts, ["192.0.2.1: 20000"], "{}", &log[..40]);
        }
    }
}
