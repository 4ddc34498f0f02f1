//! Forms of text that were once counted wrong, each with the right answer: `tests/forms/NAME.expect` has a line
//! `CLIENT COUNT` for each row of the summary, or `refuse` and what the message must name.

use std::{collections::BTreeSet, fs, path::Path};

use super::{read, text};

#[test]
fn each_form_has_its_right_answer() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forms");
    let mut tried = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let expect = entry.unwrap().path();
        if expect.extension().is_none_or(|end| end != "expect") {
            continue;
        }
        let inputs = ["txt", "pcap"].map(|end| expect.with_extension(end));
        let input = inputs.iter().find(|input| input.exists()).unwrap();
        let output = read(&["--quiet"], &[input]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let expected = fs::read_to_string(&expect).unwrap();
        if expected.starts_with("refuse\n") {
            let says = expected
                .lines()
                .find_map(|line| line.strip_prefix("# says: "));
            assert!(
                stderr.contains(says.unwrap()),
                "{}: {stderr}",
                input.display()
            );
            assert_eq!(output.status.code(), Some(1), "{}", input.display());
        } else {
            let expected: BTreeSet<_> = expected
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.replace(' ', ": "))
                .collect();
            let is_row = |line: &&str| {
                let count = line.rsplit(": ").next().map(str::parse::<u64>);
                !line.starts_with(' ') && matches!(count, Some(Ok(_)))
            };
            let rows = stdout.lines().skip_while(|line| !line.contains("Summary"));
            let rows: BTreeSet<_> = rows.filter(is_row).map(str::to_owned).collect();
            assert_eq!(rows, expected, "{}", input.display());
            assert_eq!(output.status.code(), Some(0), "{}", input.display());
        }
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}
