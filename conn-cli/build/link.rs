//! Finds the linker's options that make the program smaller.

use std::env::{var, var_os};
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A linker script that drops the tables for unwinding. Where a panic aborts, only a backtrace reads them, and it
/// names no function of a stripped program.
const NO_UNWINDING: &str = "SECTIONS {
    /DISCARD/ : { *(.eh_frame .eh_frame.* .gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

/// Tells cargo those of the options that work with an empty program: linkers differ in what they know. The program is
/// compiled with `no_unwinding` if it has no tables.
pub(crate) fn choose_options(out: &Path) {
    let script = out.join("no-unwinding.ld");
    fs::write(&script, NO_UNWINDING).expect("OUT_DIR is writable");
    let no_unwinding = format!("-T{}", script.display());
    // Equal functions once.
    let fold = "-Wl,--icf=all".to_owned();
    // Relocations as bitmaps. A static program relocates itself, and with glibc before 2.36 it then crashes.
    let pack_relocations = "-Wl,-z,pack-relative-relocs".to_owned();

    let runs_here = var_os("HOST") == var_os("TARGET");
    let needs_no_run = [&no_unwinding, &fold].into_iter();
    let needs_run = runs_here.then_some(&pack_relocations);
    let mut options = Vec::new();
    for option in needs_no_run.chain(needs_run) {
        options.push(option.clone());
        if works(&options, out, runs_here) {
            println!("cargo::rustc-link-arg-bins={option}");
        } else {
            options.pop();
        }
    }
    if options.contains(&no_unwinding) {
        println!("cargo::rustc-cfg=no_unwinding");
    }
}

/// Whether a program can be linked with these options and, if it can run here, runs.
fn works(options: &[String], out: &Path, runs_here: bool) -> bool {
    let program = out.join("empty");
    let mut rustc = Command::new(var_os("RUSTC").expect("cargo sets RUSTC"));
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(["--edition=2024", "--target"])
        .arg(var_os("TARGET").expect("cargo sets TARGET"))
        .args(["-Cpanic=abort", "-o"])
        .arg(&program)
        .args(options.iter().map(|option| format!("-Clink-arg={option}")))
        .arg("-");
    if let Some(linker) = var_os("RUSTC_LINKER") {
        let mut option = OsString::from("-Clinker=");
        option.push(linker);
        rustc.arg(option);
    }
    let run = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
        // An error shows in the exit status.
        let _ = child.stdin.take()?.write_all(b"fn main() {}");
        child.wait().ok()
    };
    let succeeds = |command: &mut Command| run(command).is_some_and(|status| status.success());
    succeeds(&mut rustc) && (!runs_here || succeeds(&mut Command::new(&program)))
}
