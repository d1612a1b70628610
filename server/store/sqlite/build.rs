//! Tells cargo that a new file in `migrations/` changes the crate.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
