//! The command line as it is typed: the commands of the documents that need no root, the help, the
//! man pages and the completions.

mod documents;
mod help;
mod recipes;
