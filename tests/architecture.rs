//! The floors of the house: a folder imports from floors below its own, never above, and folders do not import each
//! other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the ground up. Folders on one floor do not import each other.
const FLOORS: &[&[&str]] = &[
    &["error"],
    &["file", "numeric", "protobuf"],
    &["onnx"],
    &["nn"],
    &["engine"],
    &["map"],
    &["model"],
    &["text"],
    &["worlds", "tables"],
    &["metrics", "observe"],
    &["adversarial", "autoregressive", "baseline", "diffusion", "energy", "flow", "latent"],
    &["hybrid"],
    &["persist"],
    &["recipe", "report"],
];

/// From this floor on a source may name what stands in the root, which names all models.
const ROOT: &str = "persist";

/// Who imports whom.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The names behind `crate::` in a source, its comments and its tests left out: a test may reach anywhere.
fn imports(source: &str) -> BTreeSet<String> {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\nmod testing {"];
    let end = tests.iter().filter_map(|begin| source.find(begin)).min().unwrap_or(source.len());
    let code: String = source[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, word) in code.match_indices("crate::") {
        let rest = &code[at + word.len()..];
        match rest.strip_prefix('{') {
            // A group of paths: each begins with a name.
            Some(group) => {
                let group = group.split("};").next().unwrap_or_default();
                found.extend(group.split(',').map(|path| name(path.trim())));
            }
            None => {
                found.insert(name(rest));
            }
        }
    }
    found
}

/// Who imports whom, by the first name of a path below `src`; `root` stands for all that is no folder.
fn arrows(sources: &[(String, String)]) -> Arrows {
    let folders: BTreeSet<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let mut arrows = Arrows::new();
    for (path, source) in sources {
        let from = path.split(['/', '.']).next().unwrap_or_default();
        let to = imports(source).into_iter().filter(|name| name != from);
        let to = to.map(|name| if folders.contains(name.as_str()) { name } else { "root".into() });
        arrows.entry(from.to_owned()).or_default().extend(to);
    }
    arrows
}

/// The arrows that do not point down.
fn wrong(arrows: &Arrows) -> Vec<String> {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let above = |name: &str| if name == "root" { floor(ROOT).map(|floor| floor - 1) } else { floor(name) };
    let mut wrong = Vec::new();
    for (from, to) in arrows {
        match floor(from) {
            None => wrong.push(format!("{from} stands on no floor")),
            Some(own) => {
                let up = to.iter().filter(|to| above(to).is_none_or(|other| other >= own));
                wrong.extend(up.map(|to| format!("{from} imports {to}")));
            }
        }
    }
    wrong
}

/// The sources below `src`, without tests, the program and the root, which names everything.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            let test =
                name.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs");
            if test || name.starts_with("bin/") || name == "lib.rs" {
                continue;
            }
            if path.is_dir() {
                collect(&path, root, found);
            } else if name.ends_with(".rs") {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[test]
fn arrows_point_down() {
    let arrows = arrows(&sources());
    assert_eq!(wrong(&arrows), Vec::<String>::new());
    // Each folder has a floor, and each floor its folders.
    let named: BTreeSet<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let found: BTreeSet<&str> = arrows.keys().map(String::as_str).collect();
    assert_eq!(named, found);
}

#[test]
fn planted_arrows_are_found() {
    let planted = |path: &str, source: &str| {
        let mut sources = sources();
        sources.push((path.into(), source.into()));
        wrong(&arrows(&sources))
    };
    assert_eq!(planted("numeric/planted.rs", "use crate::model::Card;"), ["numeric imports model"]);
    assert_eq!(planted("nn/planted.rs", "use crate::{error::Error, engine::Rows};"), ["nn imports engine"]);
    // On one floor, which would be half of a circle.
    assert_eq!(planted("flow/planted.rs", "fn f() -> crate::latent::Vae {"), ["flow imports latent"]);
    assert_eq!(planted("attic/mod.rs", ""), ["attic stands on no floor"]);
    assert!(
        planted(
            "numeric/planted.rs",
            "// use crate::model::Card;\n#[cfg(test)]\nmod tests {\n    use crate::model;"
        )
        .is_empty()
    );
}
