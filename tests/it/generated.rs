//! What is generated is committed, and regenerating it changes nothing. `UPDATE=1` rewrites it.

use std::path::Path;

use flatcar::provider::reference;

use crate::harness::clouds_left_out;

/// From `proto/` come the messages and the server traits of the wire; a client would double the
/// file, and tests call by path.
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
    // An indented comment would be taken for an example in Rust.
    let text = text.replace("///      ====", "/// ====");
    assert_is_current(&root.join("src/protocol/gen.rs"), &text);
}

/// A page for the provider and for everything that it serves; guides are written by hand.
#[test]
fn the_reference_is_what_schemas_and_examples_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("docs");
    let pages = reference::pages(&flatcar::provider(), &root.join("examples")).unwrap();
    for folder in reference::FOLDERS {
        std::fs::create_dir_all(docs.join(folder)).unwrap();
        for file in std::fs::read_dir(docs.join(folder)).unwrap() {
            let file = file.unwrap();
            let page = format!("{folder}/{}", file.file_name().to_string_lossy());
            if pages.contains_key(&page) {
                continue;
            }
            assert!(
                std::env::var_os("UPDATE").is_some(),
                "docs/{page} describes what is not served"
            );
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    for (page, text) in pages {
        // Each cloud of a build has its attribute there.
        let of_clouds = page == "index.md" || page.starts_with("resources/");
        if of_clouds && !clouds_left_out().is_empty() {
            println!("docs/{page} is compared by builds with every cloud only");
            continue;
        }
        assert_is_current(&docs.join(page), &text);
    }
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
