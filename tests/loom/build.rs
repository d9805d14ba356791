//! Compiles the flags against loom's atomics in this crate alone: with a flag of rustc for all
//! crates, others that know the word `loom` would change, too.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
