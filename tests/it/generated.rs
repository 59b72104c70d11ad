//! What is generated is committed, and regenerating it changes nothing. `UPDATE=1` rewrites it.

use std::path::Path;

/// From `proto/` come the messages and the server traits of the wire; a client would double the file, and tests call by path.
#[test]
fn the_protocol_is_what_proto_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().unwrap();
    let descriptors =
        protox::compile(PACKAGES.map(|(file, _, _)| file), [root.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        // The same answer is the same bytes.
        .btree_map(".")
        // They hold configuration, state and so secrets.
        .skip_debug([".tfplugin6.DynamicValue", ".tfplugin6.RawState"])
        .out_dir(scratch.path())
        .compile_fds(descriptors)
        .unwrap();

    let mut text = String::from(HEAD);
    for (file, package, module) in PACKAGES {
        let generated =
            std::fs::read_to_string(scratch.path().join(format!("{package}.rs"))).unwrap();
        text +=
            &format!("\n/// `{file}`, package `{package}`.\npub mod {module} {{\n{generated}}}\n");
    }
    assert_is_current(&root.join("src/protocol/gen.rs"), &text);
}

/// Compares with the committed file, or rewrites it.
fn assert_is_current(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is not what would be generated; run with UPDATE=1 and read the diff",
        path.display()
    );
}

/// File, proto package, our module.
const PACKAGES: [(&str, &str, &str); 3] = [
    ("tfplugin6.proto", "tfplugin6", "tfplugin6"),
    ("plugin.proto", "plugin", "plugin"),
    ("health.proto", "grpc.health.v1", "health"),
];

const HEAD: &str = "//! Messages and server traits of the wire. Generated from `proto/` by `tests/it/generated.rs` (`UPDATE=1`), never edited.\n";
