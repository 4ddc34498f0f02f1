//! What the documents say is what the program does.

use std::{fs, path::Path};

use conn_cli::{cli, model::hook::Hook};
use trycmd::TestCases;

const README: &str = include_str!("../../../README.md");
const FORMATS: &str = include_str!("../../../docs/formats.md");
const FLEET: &str = include_str!("../../../docs/fleet.md");
const HOOKS: &str = include_str!("../../../docs/hooks.md");
const JSON: &str = include_str!("../../../docs/json.md");
const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// Each command with its output is in a file beside this one.
#[test]
fn commands_print_what_their_files_say() {
    TestCases::new().env("TZ", "UTC").case("tests/cli/*.trycmd");
}

/// The blocks of commands of a document. Those of a console have prompts and output.
fn blocks(document: &str) -> impl Iterator<Item = &str> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    blocks.filter(|block| block.starts_with("sh\n") || block.starts_with("console\n"))
}

fn commands(block: &str) -> impl Iterator<Item = &str> {
    let prompt = if block.starts_with("console\n") {
        "$ "
    } else {
        ""
    };
    let lines = block.lines().skip(1);
    lines.filter_map(move |line| line.strip_prefix(prompt).filter(|line| !line.is_empty()))
}

/// The words of each conn-cli in a line of a shell, from its name on.
pub(super) fn invocations(line: &str) -> impl Iterator<Item = Vec<&str>> {
    line.split(['|', '&', ';']).filter_map(|part| {
        let words = part.split_whitespace();
        let words = words.skip_while(|word| *word != "conn-cli" && !word.ends_with("/conn-cli"));
        let mut words: Vec<_> = words
            .take_while(|word| !word.starts_with('>') && !word.starts_with("2>"))
            .collect();
        // In `-o '|conn-cli read' -p PID`, what follows the quote is not its argument.
        if let Some(last) = words.iter().position(|word| word.ends_with('\'')) {
            words.truncate(last + 1);
            words[last] = words[last].trim_end_matches('\'');
        }
        (!words.is_empty()).then_some(words)
    })
}

/// Commands that need root or another program are parsed, and run in the live cases; the others are
/// run here.
#[test]
fn every_command_of_the_documents_is_accepted_and_run() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut files = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "trycmd")
        {
            files += &fs::read_to_string(path).unwrap();
        }
    }
    let (mut parsed, mut run) = (0, 0);
    for block in [README, FORMATS, HOOKS, JSON, RECIPES, FLEET]
        .into_iter()
        .flat_map(blocks)
    {
        for line in commands(block) {
            // What is installed is no command.
            let words = invocations(line).filter(|_| !line.starts_with("sudo install "));
            for args in words {
                let args = [&["conn-cli"], &args[1..]].concat();
                cli::parse(&args).unwrap_or_else(|error| panic!("{line}: {error}"));
                parsed += 1;
            }
            // The recipes have tests of their own.
            if line.starts_with("conn-cli ") && !RECIPES.contains(line) {
                let (command, _) = line.split_once(" |").unwrap_or((line, ""));
                assert!(files.contains(&format!("$ {command}\n")), "{command}");
                run += 1;
            }
        }
        if let Some(from) = block.find("$ conn-cli ") {
            assert!(files.contains(&block[from..]), "{block}");
        }
    }
    assert!(parsed > 12 && run > 3, "{parsed} {run}");
}

/// Every file and directory that a document names is there.
#[test]
fn the_places_in_the_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for place in text.split('`').skip(1).step_by(2) {
            let is_path = place.contains('/') && (place.ends_with('/') || place.ends_with(".rs"));
            if !is_path || place.contains([' ', '*']) {
                continue;
            }
            let bases = [
                "",
                "conn-cli/src",
                "conn-cli/tests/live",
                "conn-ebpf/src/bin",
                "lab/src",
            ];
            let exists = bases
                .iter()
                .any(|base| root.join(base).join(place).exists());
            assert!(exists, "{document}: {place}");
            found += 1;
        }
    }
    assert!(found > 60, "{found}");
}

/// So is every file in `deploy` that the page on fleets links to.
#[test]
fn the_deployments_in_the_documents_exist() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let links = FLEET.split("](").skip(1);
    let paths = links.filter_map(|link| link.split([')', '#']).next());
    let mut found = 0;
    for path in paths.filter(|path| path.starts_with("../deploy/")) {
        assert!(docs.join(path).exists(), "{path}");
        found += 1;
    }
    assert!(found > 4, "{found}");
}

#[test]
fn the_documents_have_the_table_of_hooks() {
    for hook in Hook::ALL {
        let info = hook.info();
        let knows_task = if info.knows_task { "yes" } else { "no" };
        let row = format!(
            "| `{}` | {} | {} | {} | {knows_task} | {} |",
            info.name, info.title, info.counts, info.exact, info.needs
        );
        assert_eq!(HOOKS.contains(&row), info.is_option, "{row}");
    }
}
