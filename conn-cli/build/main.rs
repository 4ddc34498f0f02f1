//! Makes the binary smaller: compresses the eBPF objects that it embeds, and finds the linker's options for that.

mod compress;
mod link;

use std::env::{var, var_os};
use std::fs;
use std::path::{Path, PathBuf};

/// The objects in `ebpf/<architecture>`.
const OBJECTS: [&str; 2] = ["kprobe.o", "btf.o"];

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    pack_objects(&out);
    println!("cargo::rustc-check-cfg=cfg(no_unwinding)");
    // Tests unwind, and a debugger reads the tables for that.
    if var("PROFILE").as_deref() == Ok("release") && var("DEBUG").as_deref() == Ok("false") {
        link::choose_options(&out);
    }
}

/// Packs the objects of the architecture into `out`, and says by `EBPF_OBJECTS` where they are.
fn pack_objects(out: &Path) {
    let architecture = var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    let manifest = var("CARGO_MANIFEST_DIR").expect("cargo sets the folder");
    let folder = Path::new(&manifest).join("ebpf").join(architecture);
    assert!(
        folder.is_dir(),
        "conn-cli has eBPF objects for x86_64 and aarch64 only"
    );
    for name in OBJECTS {
        let path = folder.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let object = fs::read(&path).expect("the object is in the tree");
        fs::write(
            out.join(name).with_extension("o.xz"),
            compress::compress(&object),
        )
        .expect("OUT_DIR is writable");
    }
    println!("cargo::rustc-env=EBPF_OBJECTS={}", folder.display());
}
