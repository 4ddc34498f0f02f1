//! `conn-cli generate`: the man pages and the completions, from the options themselves.

use clap::{ArgAction, Command, Subcommand, builder::TypedValueParser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{help, named};

/// The arguments of `conn-cli generate`.
#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    /// What to print.
    #[command(subcommand)]
    document: Document,

    /// Print this help
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What can be printed.
#[derive(Debug, Subcommand)]
enum Document {
    /// Print a man page
    #[command(disable_help_flag = true)]
    Man {
        /// Which: that of a command, in place of that of tracing
        #[arg(value_name = "COMMAND", value_parser = command())]
        command: Option<&'static str>,

        /// Print this help
        #[arg(short, long, action = ArgAction::Help)]
        help: Option<bool>,
    },
    /// Print completions for a shell
    #[command(disable_help_flag = true)]
    Completions {
        /// Which
        #[arg(value_parser = shell())]
        shell: Shell,

        /// Print this help
        #[arg(short, long, action = ArgAction::Help)]
        help: Option<bool>,
    },
}

/// The commands with a man page of their own.
fn command() -> impl TypedValueParser<Value = &'static str> {
    named(["read", "compare", "check", "generate"].map(|name| (name, name)))
}

fn shell() -> impl TypedValueParser<Value = Shell> {
    named([
        ("bash", Shell::Bash),
        ("zsh", Shell::Zsh),
        ("fish", Shell::Fish),
    ])
}

impl GenerateArgs {
    /// The document, of this program.
    pub(super) fn text(&self, mut program: Command) -> Vec<u8> {
        match self.document {
            Document::Completions { shell, .. } => completions(shell, program),
            Document::Man { command, .. } => {
                program.build();
                let page = match command {
                    Some(name) => program
                        .find_subcommand(name)
                        .expect("every one of these is a command")
                        .clone(),
                    None => program,
                };
                let examples = help::examples(page.get_name());
                let mut text = Vec::new();
                Man::new(page)
                    .source(concat!("conn-cli ", env!("CARGO_PKG_VERSION")))
                    .render(&mut text)
                    .expect("writing to memory does not fail");
                match examples {
                    Some(examples) => with_examples(text, examples),
                    None => text,
                }
            }
        }
    }
}

/// The man page with these examples, before the section of what comes last in the help.
fn with_examples(page: Vec<u8>, examples: &str) -> Vec<u8> {
    let page = String::from_utf8(page).expect("clap_mangen writes UTF-8");
    let examples = examples.replace('-', "\\-");
    let examples = format!(".SH EXAMPLES\n.nf\n{examples}.fi\n{LAST}");
    page.replace(LAST, &examples).into_bytes()
}

/// The heading of the last section.
const LAST: &str = ".SH EXTRA\n";

fn completions(shell: Shell, program: Command) -> Vec<u8> {
    let program = program.mut_subcommand("read", |read| {
        // The generators list hidden options, too.
        let visible = read.get_arguments().filter(|arg| !arg.is_hide_set());
        Command::new("read")
            .about(read.get_about().cloned().unwrap_or_default())
            .disable_help_flag(true)
            .args(visible.cloned())
    });
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut { program }, "conn-cli", &mut text);
    // For bash the hyphen of the name is replaced in two ways, so that no subcommand would match.
    let text = String::from_utf8(text).expect("clap_complete writes UTF-8");
    text.replace("conn__subcmd__cli", "conn__cli").into_bytes()
}
