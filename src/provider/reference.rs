//! The reference that registries show: a page for the provider and for everything that it serves.
//! In: the tables and the folder of examples. Out: `data-sources/image.md` and its text, in the
//! form of the Terraform Registry.
//!
//! See: <https://developer.hashicorp.com/terraform/registry/providers/docs>.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::schema::{Kind, Parameter, Signature};
use super::{Attribute, Provider, Schema, Type};

/// Every page by its path below `docs/`. Examples are `provider/*.tf`,
/// `data-sources/flatcar_image/*.tf` and the like; one that is called like its kind (`resource.tf`)
/// comes first, the others under their names.
///
/// # Errors
/// An example cannot be read.
pub fn pages(provider: &Provider, examples: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    let name = provider.name;
    let index = Page {
        subcategory: None,
        title: format!("Provider: {}", capitalized(name)),
        heading: format!("{} Provider", capitalized(name)),
        description: provider.schema().description,
        examples: examples_of(&examples.join("provider"), "provider")?,
        import: None,
    };
    pages.insert(
        "index.md".to_owned(),
        index.with(&reference(provider.schema())),
    );
    let kinds = [
        (
            DATA_SOURCE,
            rows(&provider.data_sources, |row| (row.name(), row.schema())),
        ),
        (
            RESOURCE,
            rows(&provider.resources, |row| (row.name(), row.schema())),
        ),
        (
            EPHEMERAL,
            rows(&provider.ephemerals, |row| (row.name(), row.schema())),
        ),
    ];
    for (kind, rows) in kinds {
        for (row, schema) in rows {
            let folder = examples.join(kind.folder).join(format!("{name}_{row}"));
            let page = Page {
                subcategory: Some(""),
                title: format!("{name}_{row} {} - terraform-provider-{name}", kind.title),
                heading: format!("{name}_{row} ({})", kind.title),
                description: schema.description,
                examples: examples_of(&folder, kind.example)?,
                import: import_of(&folder)?,
            };
            let path = format!("{}/{row}.md", kind.folder);
            pages.insert(path, page.with(&reference(schema)));
        }
    }
    for row in &provider.functions {
        let (row, signature) = (row.name(), row.signature());
        let page = Page {
            subcategory: Some(""),
            title: format!("{row} function - terraform-provider-{name}"),
            heading: format!("function: {row}"),
            description: signature.description,
            examples: examples_of(&examples.join("functions").join(row), "function")?,
            import: None,
        };
        let path = format!("functions/{row}.md");
        pages.insert(path, page.with(&signature_text(row, &signature)));
    }
    Ok(pages)
}

/// The folders below `docs/` that hold generated pages only.
pub const FOLDERS: &[&str] = &[
    DATA_SOURCE.folder,
    RESOURCE.folder,
    EPHEMERAL.folder,
    "functions",
];

fn rows<'a, T: ?Sized>(
    rows: &'a [Box<T>],
    row: fn(&'a T) -> (&'static str, &'a Schema),
) -> Vec<(&'static str, &'a Schema)> {
    rows.iter().map(|boxed| row(boxed)).collect()
}

struct PageKind {
    folder: &'static str,
    title: &'static str,
    /// File name of the first example, without `.tf`.
    example: &'static str,
}

const DATA_SOURCE: PageKind = PageKind {
    folder: "data-sources",
    title: "Data Source",
    example: "data-source",
};

const RESOURCE: PageKind = PageKind {
    folder: "resources",
    title: "Resource",
    example: "resource",
};

const EPHEMERAL: PageKind = PageKind {
    folder: "ephemeral-resources",
    title: "Ephemeral Resource",
    example: "ephemeral-resource",
};

struct Page {
    /// Where a registry files it. The overview has no such line, not even an empty one.
    subcategory: Option<&'static str>,
    title: String,
    heading: String,
    description: &'static str,
    examples: Vec<Example>,
    /// Shell commands that import one.
    import: Option<String>,
}

struct Example {
    /// None of the first one.
    heading: Option<String>,
    text: String,
}

impl Page {
    fn with(&self, reference: &str) -> String {
        let mut text = format!("---\npage_title: \"{}\"\n", self.title);
        if let Some(subcategory) = self.subcategory {
            text += &format!("subcategory: \"{subcategory}\"\n");
        }
        text += &format!(
            "description: |-\n  {}\n---\n\n{MARK}\n\n# {}\n\n{}\n",
            self.description, self.heading, self.description
        );
        if !self.examples.is_empty() {
            text += "\n## Example Usage\n";
        }
        for example in &self.examples {
            if let Some(heading) = &example.heading {
                text += &format!("\n### {heading}\n");
            }
            text += &format!("\n```terraform\n{}\n```\n", example.text.trim_end());
        }
        text += reference;
        if let Some(import) = &self.import {
            text += &format!("\n## Import\n\n```shell\n{}\n```\n", import.trim_end());
        }
        text
    }
}

const MARK: &str = "<!-- Generated from the schema and examples/ (`make docs`), never edited. -->";

fn examples_of(folder: &Path, first: &str) -> io::Result<Vec<Example>> {
    let mut files = files_of(folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "tf"));
    let stem = |file: &Path| {
        let stem = file.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    files.sort_by_key(|file| (stem(file) != first, stem(file)));
    let example = |file: &PathBuf| {
        let name = stem(file);
        Ok(Example {
            heading: (name != first).then(|| name.replace('_', " ")),
            text: std::fs::read_to_string(file)?,
        })
    };
    files.iter().map(example).collect()
}

fn import_of(folder: &Path) -> io::Result<Option<String>> {
    let file = folder.join("import.sh");
    if !file.exists() {
        return Ok(None);
    }
    std::fs::read_to_string(file).map(Some)
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

fn reference(schema: &Schema) -> String {
    let mut text = String::from("\n## Schema\n");
    let mut nested = Vec::new();
    groups(&mut text, &schema.attributes, "", "### ", &mut nested);
    // Breadth first: the sections follow in the order in which they are mentioned.
    let mut next = 0;
    while next < nested.len() {
        let (path, attributes) = nested[next].clone();
        next += 1;
        let anchor = path.replace('.', "--");
        text += &format!("\n<a id=\"nestedatt--{anchor}\"></a>\n### Nested Schema for `{path}`\n");
        groups(&mut text, attributes, &format!("{path}."), "", &mut nested);
    }
    text
}

fn groups<'a>(
    text: &mut String,
    attributes: &'a [Attribute],
    under: &str,
    mark: &str,
    nested: &mut Vec<(String, &'a [Attribute])>,
) {
    type OfGroup = fn(&Attribute) -> bool;
    let groups: [(&str, OfGroup); 3] = [
        ("Required", |attribute| attribute.required),
        ("Optional", |attribute| attribute.optional),
        ("Read-Only", |attribute| !attribute.is_configurable()),
    ];
    let colon = if mark.is_empty() { ":" } else { "" };
    for (title, of_group) in groups {
        let attributes: Vec<&Attribute> = attributes
            .iter()
            .filter(|attribute| of_group(attribute))
            .collect();
        if attributes.is_empty() {
            continue;
        }
        *text += &format!("\n{mark}{title}{colon}\n\n");
        for attribute in attributes {
            let path = format!("{under}{}", attribute.name);
            entry(text, attribute, &path);
            if let Kind::Object(inner) | Kind::ListOf(inner) | Kind::MapOf(inner) = &attribute.kind
            {
                nested.push((path, inner));
            }
        }
    }
}

fn entry(text: &mut String, attribute: &Attribute, path: &str) {
    let mut words = vec![match &attribute.kind {
        Kind::Plain(kind) => type_name(kind),
        Kind::Object(_) => "Attributes".to_owned(),
        Kind::ListOf(_) => "Attributes List".to_owned(),
        Kind::MapOf(_) => "Attributes Map".to_owned(),
    }];
    if attribute.sensitive {
        words.push("Sensitive".to_owned());
    }
    if attribute.write_only {
        words.push(format!("[Write-only]({WRITE_ONLY})"));
    }
    let _ = write!(
        text,
        "- `{}` ({}) {}",
        attribute.name,
        words.join(", "),
        attribute.description
    );
    if !matches!(attribute.kind, Kind::Plain(_)) {
        let anchor = path.replace('.', "--");
        let _ = write!(
            text,
            " (see [below for nested schema](#nestedatt--{anchor}))"
        );
    }
    text.push('\n');
}

const WRITE_ONLY: &str =
    "https://developer.hashicorp.com/terraform/language/manage-sensitive-data/write-only";

fn type_name(kind: &Type) -> String {
    match kind {
        Type::Bool => "Boolean".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::String => "String".to_owned(),
        Type::Dynamic => "Dynamic".to_owned(),
        Type::List(kind) => format!("List of {}", type_name(kind)),
        Type::Set(kind) => format!("Set of {}", type_name(kind)),
        Type::Map(kind) => format!("Map of {}", type_name(kind)),
        Type::Tuple(_) => "Tuple".to_owned(),
        Type::Object(_) => "Object".to_owned(),
    }
}

fn signature_text(name: &str, signature: &Signature) -> String {
    let parameters = signature.parameters.iter();
    let mut all: Vec<String> = parameters
        .map(|parameter| {
            format!(
                "{} {}",
                parameter.name,
                type_name(&parameter.kind).to_lowercase()
            )
        })
        .collect();
    if let Some(rest) = &signature.variadic {
        all.push(format!(
            "{} {}...",
            rest.name,
            type_name(&rest.kind).to_lowercase()
        ));
    }
    let result = type_name(&signature.result).to_lowercase();
    let mut text = format!(
        "\n## Signature\n\n```text\n{name}({}) {result}\n```\n\n## Arguments\n\n",
        all.join(", ")
    );
    let mut argument = |parameter: &Parameter, variadic: &str| {
        let nullable = if parameter.allow_null {
            ", Nullable"
        } else {
            ""
        };
        text += &format!(
            "1. `{}` ({variadic}{}{nullable}) {}\n",
            parameter.name,
            type_name(&parameter.kind),
            parameter.description
        );
    };
    for parameter in &signature.parameters {
        argument(parameter, "");
    }
    if let Some(rest) = &signature.variadic {
        argument(rest, "Variadic, ");
    }
    text
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::sample;

    #[test]
    fn a_page_says_what_a_user_may_write_and_gets() {
        let examples = tempfile::tempdir().unwrap();
        let folder = examples.path().join("resources/sample_thing");
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in [
            ("a_small_one.tf", "# small\n"),
            ("resource.tf", "# first\n"),
            ("import.sh", "terraform import sample_thing.a u-1\n"),
            ("notes.txt", "not an example"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let pages = pages(&sample::provider(), examples.path()).unwrap();
        let names: Vec<&str> = pages.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "data-sources/echo.md",
                "ephemeral-resources/lease.md",
                "functions/join.md",
                "index.md",
                "resources/thing.md"
            ]
        );
        let thing = &pages["resources/thing.md"];
        let mut from = 0;
        for part in [
            "page_title: \"sample_thing Resource - terraform-provider-sample\"",
            "# sample_thing (Resource)",
            "## Example Usage\n\n```terraform\n# first\n```\n\n### a small one\n\n```terraform\n# small\n```\n",
            "### Required\n\n- `name` (String) Name. A change replaces the resource.\n",
            "### Optional\n\n- `size` (Number) Size. Defaults to `1`. A whole number from 0 to 9.\n",
            "- `tags` (Map of String) Tags.\n",
            "- `disks` (Attributes Map) Disks by name. (see [below for nested schema](#nestedatt--disks))\n",
            "- `secret` (String, Sensitive) Secret.\n",
            "- `secret_wo` (String, [Write-only](",
            "### Read-Only\n\n- `uid` (String) Id.\n",
            "<a id=\"nestedatt--disks\"></a>\n### Nested Schema for `disks`\n\nRequired:\n\n- `gb` (Number)",
            "Read-Only:\n\n- `serial` (String) Number.\n",
            "## Import\n\n```shell\nterraform import sample_thing.a u-1\n```\n",
        ] {
            let found = thing[from..].find(part);
            assert!(
                found.is_some(),
                "{part:?} is missing, or not in its place, in\n{thing}"
            );
            from += found.unwrap();
        }
        let join = &pages["functions/join.md"];
        assert!(
            join.contains("join(separator string, texts string...) string"),
            "{join}"
        );
        assert!(
            join.contains("1. `texts` (Variadic, String, Nullable) Text.\n"),
            "{join}"
        );
    }
}
