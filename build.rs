//! Compiles the contract: messages and services as Rust, and the descriptor set that reflection
//! and the method table are read from. Pure Rust, no protoc.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let files = protos(Path::new("proto/mediary"))?;
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    // A file that is added or removed.
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new(["proto", "proto/third_party"])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let whole = compiler.file_descriptor_set();
    // Written without comments, with the options of methods: what a running server needs.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    compiler.include_source_info(false);
    std::fs::write(out.join("mediary.bin"), compiler.encode_file_descriptor_set())?;

    // Names of messages, by which field masks find them in the descriptor set.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        .codec_path("crate::codec::Codec")
        .bytes(".")
        // The same message is always the same bytes.
        .btree_map(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds_with_config(whole, config)?;
    Ok(())
}

fn protos(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(protos(&path)?);
        } else if path.extension().is_some_and(|end| end == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
