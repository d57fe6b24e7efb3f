//! Reruns the commands behind the measured tables and writes what they print into `docs/RESULTS.md`, and the table of
//! `README.md`, between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
//!
//! `cargo run --release --example results` takes hours and needs a machine without other work · `-- --only NAME`
//! · `-- --check` · `-- --quick` · `-- --help` explains the options.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;

/// Rerun the commands behind the measured tables and rewrite the tables.
#[derive(Parser)]
struct Args {
    /// Rewrite only these blocks, and those copied from them.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// Measure nothing: check that every block is in its document, and that copied columns agree with their source.
    #[arg(long)]
    check: bool,
    /// Run each command in its quick form and write to target/results, to check that everything works; the figures
    /// mean little.
    #[arg(long, conflicts_with = "check")]
    quick: bool,
}

/// A marked block of a document.
struct Block {
    name: &'static str,
    file: &'static str,
    source: Source,
}

enum Source {
    /// What this command prints, without headings.
    Command(&'static str),
    /// These columns of the first table in another block that has them.
    Columns { of: &'static str, columns: &'static [&'static str] },
}

use Source::{Columns, Command as Prints};

const README: &str = "README.md";
const RESULTS: &str = "docs/RESULTS.md";

/// All blocks; blocks that copy from others come after their sources.
const BLOCKS: &[Block] = &[
    Block {
        name: "grid",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --wide --data grid --seeds 3"),
    },
    Block {
        name: "faithful",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --wide --data faithful --seeds 5"),
    },
    Block {
        name: "all grid",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --all --data grid --seeds 3"),
    },
    Block {
        name: "all moons",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --all --data moons --seeds 3"),
    },
    Block {
        name: "all checkerboard",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --all --data checkerboard --seeds 3"),
    },
    Block {
        name: "all faithful",
        file: RESULTS,
        source: Prints("cargo run --release --example tradeoffs -- --all --data faithful --seeds 5"),
    },
    Block {
        name: "microscope",
        file: RESULTS,
        source: Prints(
            "cargo run --release --features plot --example microscope -- --seeds 3 --plot docs/pictures/microscope.svg",
        ),
    },
    Block {
        name: "steps",
        file: RESULTS,
        source: Prints(
            "cargo run --release --features plot --example steps_vs_quality -- --seeds 3 --analytic --plot docs/pictures/steps.svg",
        ),
    },
    Block {
        name: "transport",
        file: RESULTS,
        source: Prints("cargo run --release --example transport -- --seeds 3"),
    },
    Block { name: "conditional", file: RESULTS, source: Prints("cargo run --release --example conditional") },
    Block { name: "guidance", file: RESULTS, source: Prints("cargo run --release --example guidance") },
    Block {
        name: "few steps",
        file: RESULTS,
        source: Prints(
            "cargo run --release --features plot --example few_steps -- --plot docs/pictures/few_steps.svg",
        ),
    },
    Block { name: "fine-tuning", file: RESULTS, source: Prints("cargo run --release --example fine_tune") },
    Block { name: "hybrids", file: RESULTS, source: Prints("cargo run --release --example hybrids") },
    Block { name: "sequences", file: RESULTS, source: Prints("cargo run --release --example sequences") },
    Block { name: "text", file: RESULTS, source: Prints("cargo run --release --example text") },
    Block {
        name: "digits",
        file: RESULTS,
        source: Prints(
            "cargo run --release --features plot --example digits -- --plot docs/pictures/digits.svg",
        ),
    },
    Block {
        name: "speed",
        file: RESULTS,
        source: Prints("cargo run --release --example speed -- --peer jax"),
    },
    Block {
        name: "growth",
        file: RESULTS,
        source: Prints("cargo run --release --example speed -- --growth"),
    },
    Block { name: "columns", file: RESULTS, source: Prints("cargo run --release --example columns") },
    Block {
        name: "synthetic",
        file: RESULTS,
        source: Prints("target/sdv/bin/python -W ignore examples/python/synthetic.py --splits 3 --sdv"),
    },
    Block { name: "reading", file: RESULTS, source: Prints("cargo run --release --example reading") },
    Block { name: "cost", file: RESULTS, source: Prints("python3 benches/cost/measure.py") },
    Block {
        name: "tradeoffs",
        file: README,
        source: Columns {
            of: "grid",
            columns: &["model", "nfe", "µs in bulk", "likelihood", "gap", "in 3σ", "energy distance"],
        },
    },
];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("results: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(unknown) = args.only.iter().find(|&name| BLOCKS.iter().all(|block| block.name != name)) {
        let names: Vec<_> = BLOCKS.iter().map(|block| block.name).collect();
        return Err(format!("there is no block {unknown:?}; there are {}", names.join(", ")).into());
    }
    check(root)?;
    if args.check {
        return Ok(());
    }
    let documents = if args.quick { copies(root)? } else { root.to_owned() };
    let measured = provenance(root);
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    for block in BLOCKS {
        let content = match block.source {
            Prints(command) if wanted(block.name) => match to_run(command, args.quick) {
                Some(words) => {
                    eprintln!("{}: {}", block.name, words.join(" "));
                    let printed = output(root, &words).map_err(|error| format!("{}: {error}", block.name))?;
                    let content = without_headings(&printed);
                    no_untold_code(&content).map_err(|error| format!("{}: {error}", block.name))?;
                    format!("`{command}` · {measured}\n\n{content}")
                }
                None => {
                    eprintln!("{}: has no quick form", block.name);
                    continue;
                }
            },
            Columns { of, columns } if wanted(block.name) || wanted(of) => copied(&documents, of, columns)?,
            _ => continue,
        };
        // At once: what is measured is not lost if a later command fails.
        let path = documents.join(block.file);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, replaced(&text, block.name, &content)?)?;
    }
    Ok(())
}

/// Checks that documents and [`BLOCKS`] name the same blocks, and that copied columns agree with their source.
fn check(root: &Path) -> Outcome<()> {
    for file in [README, RESULTS] {
        let text = std::fs::read_to_string(root.join(file))?;
        no_untold_code(&text).map_err(|error| format!("{file}: {error}"))?;
        let begun = text.lines().filter_map(|line| line.strip_prefix("<!-- ")?.strip_suffix(": begin -->"));
        let known = |name: &&str| BLOCKS.iter().any(|block| block.file == file && block.name == *name);
        if let Some(unknown) = begun.clone().find(|name| !known(name)) {
            return Err(format!("{file}: no command is known for the block {unknown:?}").into());
        }
    }
    for block in BLOCKS {
        let text = std::fs::read_to_string(root.join(block.file))?;
        let place = place(&text, block.name).map_err(|error| format!("{}: {error}", block.file))?;
        if let Columns { of, columns } = block.source
            && text[place].trim() != copied(root, of, columns)?.trim()
        {
            return Err(
                format!("{}: the block {:?} differs from the block {of:?}", block.file, block.name).into()
            );
        }
    }
    Ok(())
}

/// The documents are pages of the library, too, and there a block of code without a language is compiled as Rust.
fn no_untold_code(text: &str) -> Outcome<()> {
    let mut fence: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let length = line.len() - line.trim_start_matches(['`', '~']).len();
        let (marks, language) = line.split_at(length);
        match fence {
            Some(open) => fence = Some(open).filter(|open| !(marks.starts_with(open) && language.is_empty())),
            None if length >= 3 && language.is_empty() => {
                return Err(format!("line {number} begins a block of code and names no language").into());
            }
            None if length >= 3 && !language.contains('`') => fence = Some(marks),
            None if line.starts_with("    ") && !line.trim().is_empty() => {
                return Err(format!("line {number} is indented, which makes it code").into());
            }
            None => {}
        }
    }
    Ok(())
}

/// Copies of the documents in target/, which are written instead of the originals.
fn copies(root: &Path) -> Outcome<PathBuf> {
    let folder = root.join("target/results");
    std::fs::create_dir_all(folder.join("docs"))?;
    for file in [README, RESULTS] {
        std::fs::copy(root.join(file), folder.join(file))?;
    }
    Ok(folder)
}

/// The version that is measured, and the machine.
fn provenance(root: &Path) -> String {
    let git = |arguments: &str| {
        let words: Vec<String> =
            std::iter::once("git").chain(arguments.split(' ')).map(String::from).collect();
        output(root, &words).map(|text| text.trim().to_string())
    };
    let version = env!("CARGO_PKG_VERSION");
    let commit = match (git("describe --always --dirty --exclude *"), git("log -1 --format=%cs")) {
        (Ok(commit), Ok(day)) => format!(" ({commit}, {day})"),
        _ => String::new(),
    };
    let threads = rayon::current_num_threads();
    format!("version {version}{commit}, {threads} threads, {}", quadrivium::instruction_set())
}

/// The words of a command; the quick form is for one seed, writes no picture, and is built as the tests are, which are
/// optimized, too. `None` if it has no quick form.
fn to_run(command: &str, quick: bool) -> Option<Vec<String>> {
    let mut words: Vec<String> = command.split(' ').map(String::from).collect();
    if quick {
        if words[0] != "cargo" {
            return None;
        }
        if let Some(at) = words.iter().position(|word| word == "--features") {
            words.drain(at..at + 2);
        }
        let profile = words.iter().position(|word| word == "--release")?;
        words[profile] = "--all-features".into();
        for option in ["--seeds", "--plot", "--peer"] {
            if let Some(at) = words.iter().position(|word| word == option) {
                words.drain(at..at + 2);
            }
        }
        if !words.iter().any(|word| word == "--") {
            words.push("--".into());
        }
        words.push("--quick".into());
    }
    Some(words)
}

/// What the command prints on standard output, if it succeeds.
fn output(root: &Path, words: &[String]) -> Outcome<String> {
    let done = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    match done.status.success() {
        true => Ok(String::from_utf8(done.stdout)?),
        false => Err(format!("{} ended with {}", words.join(" "), done.status).into()),
    }
}

/// The output without headings, because the document has its own.
fn without_headings(printed: &str) -> String {
    let kept: Vec<&str> = printed.trim().lines().filter(|line| !line.starts_with('#')).collect();
    kept.join("\n").trim().to_string()
}

/// The range of a block's content.
fn place(text: &str, name: &str) -> Outcome<Range<usize>> {
    let [begin, end] = ["begin", "end"].map(|mark| format!("<!-- {name}: {mark} -->\n"));
    let once = |mark: &str| match text.match_indices(mark).collect::<Vec<_>>()[..] {
        [(at, _)] => Ok(at),
        ref found => Err(format!("expected {:?} once, found it {} times", mark.trim(), found.len())),
    };
    let (from, to) = (once(&begin)? + begin.len(), once(&end)?);
    if to < from {
        return Err(format!("the block {name:?} ends before it begins").into());
    }
    Ok(from..to)
}

/// The document with new content in the block with this name.
fn replaced(text: &str, name: &str, new: &str) -> Outcome<String> {
    let old = place(text, name)?;
    Ok(format!("{}{}\n{}", &text[..old.start], new.trim(), &text[old.end..]))
}

/// Columns of the first table in the block `of` that has them all.
fn copied(documents: &Path, of: &str, columns: &[&str]) -> Outcome<String> {
    let source = BLOCKS.iter().find(|block| block.name == of).ok_or(format!("there is no block {of:?}"))?;
    let text = std::fs::read_to_string(documents.join(source.file))?;
    let chosen = selected(&text[place(&text, of)?], columns);
    chosen.ok_or_else(|| format!("no table in the block {of:?} has the columns {columns:?}").into())
}

fn selected(block: &str, columns: &[&str]) -> Option<String> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inside.split('|').map(|cell| cell.trim().to_string()).collect())
    };
    let lines: Vec<&str> = block.lines().collect();
    lines.iter().enumerate().find_map(|(at, line)| {
        let header = cells(line)?;
        let place = |column: &&str| header.iter().position(|name| name == column);
        let places: Vec<usize> = columns.iter().map(place).collect::<Option<_>>()?;
        let rows = lines[at + 2..].iter().map_while(|line| cells(line));
        let picked = |row: &[String]| {
            let picked: Vec<&str> = places.iter().map(|&place| row[place].as_str()).collect();
            format!("| {} |\n", picked.join(" | "))
        };
        let rule = format!("|{}\n", " --- |".repeat(places.len()));
        Some(picked(&header) + &rule + &rows.map(|row| picked(&row)).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n";

    #[test]
    fn block_is_replaced_and_the_rest_stays() {
        let new = replaced(DOCUMENT, "a", "one\ntwo\n").unwrap();
        assert_eq!(new, "before\n<!-- a: begin -->\none\ntwo\n<!-- a: end -->\nafter\n");
        assert_eq!(replaced(&new, "a", "old").unwrap(), DOCUMENT);
    }

    #[test]
    fn block_without_both_marks_once_is_refused() {
        let twice = DOCUMENT.repeat(2);
        let turned = "<!-- a: end -->\n<!-- a: begin -->\n";
        for (text, name) in [(DOCUMENT, "b"), (&twice, "a"), (turned, "a"), ("<!-- a: begin -->\n", "a")] {
            assert!(place(text, name).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_come_from_the_first_table_that_has_them() {
        let block = "| a | x |\n|---|---|\n| 1 | 2 |\n\ntext\n\n| a | b  | c |\n|---|---:|---|\n| 3 | 4 | 5 |\n| 6 | 7 | 8 |\nend";
        let chosen = selected(block, &["c", "a"]);
        assert_eq!(chosen.as_deref(), Some("| c | a |\n| --- | --- |\n| 5 | 3 |\n| 8 | 6 |\n"));
        assert_eq!(selected(block, &["c", "x"]), None);
    }

    #[test]
    fn quick_form_has_one_seed_and_leaves_the_pictures() {
        let quick = |command| to_run(command, true).map(|words| words.join(" "));
        assert_eq!(
            quick(
                "cargo run --release --features plot --example e -- --seeds 3 --analytic --plot docs/p.svg"
            ),
            Some("cargo run --all-features --example e -- --analytic --quick".into())
        );
        assert_eq!(
            quick("cargo run --release --example e"),
            Some("cargo run --all-features --example e -- --quick".into())
        );
        assert_eq!(quick("python3 measure.py"), None);
    }

    #[test]
    fn code_without_a_language_is_refused() {
        for told in ["a\n```text\n    b\n```\nc", "~~~~text\n```\n~~~~\n", "``code`` in a line", "- a\n  - b"]
        {
            no_untold_code(told).unwrap();
        }
        for untold in ["a\n\n    b", "```\nb\n```", "~~~text\n~~~\n~~~\n"] {
            assert!(no_untold_code(untold).is_err(), "{untold}");
        }
    }

    #[test]
    fn headings_are_left_to_the_document() {
        assert_eq!(without_headings("\n## grid\n\n| a |\n\n# b\nend\n"), "| a |\n\nend");
    }

    #[test]
    fn documents_have_the_blocks_that_the_commands_write() {
        check(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    }

    #[test]
    fn readme_is_short() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(README);
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 200, "{lines} lines");
    }
}
