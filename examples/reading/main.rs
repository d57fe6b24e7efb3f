//! Reads the labeled texts of `tests/reading` and prints how often each field is right, and each mistake.
//!
//! `cargo run --release --example reading` · `-- --set validation` reads one set · `-- --cards NAME` prints a
//! text's card

mod cases;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::map::read::{Outside, read};

use cases::{Case, FIELDS, Judged, load};

/// Reads the labeled texts and prints how often each field is right.
#[derive(Parser)]
struct Args {
    /// Only these sets.
    #[arg(long, value_delimiter = ',', default_value = "practice,tuning,validation,second,third,fourth")]
    set: Vec<String>,
    /// Also print the cards of the texts whose name has this in it.
    #[arg(long)]
    cards: Option<String>,
    /// Accepted for `--example results -- --quick`: this example is quick.
    #[arg(long)]
    quick: bool,
}

fn main() {
    let args = Args::parse();
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec!["texts", "number", "abstained", "wrongly placed"];
    header.extend(FIELDS);
    table.set_header(&header);
    let mut mistakes = Vec::new();
    for set in &args.set {
        let cases = load(set);
        let (inside, outside): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| !case.is_outside());
        for (what, cases) in [("", inside), (", outside the map", outside)] {
            if !cases.is_empty() {
                table.add_row(row(&format!("{set}{what}"), &cases, &mut mistakes));
            }
        }
        if let Some(part) = &args.cards {
            for case in cases.iter().filter(|case| case.name.contains(part.as_str())) {
                println!("## {}\n\n{}\n\n{}", case.name, case.text, read(&case.text).card(&case.text));
            }
        }
    }
    for at in 1..header.len() {
        table.column_mut(at).expect("as many as the header has").set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}\n");
    match mistakes.is_empty() {
        true => println!("No mistake."),
        false => println!("Mistakes, one by one:\n\n{}", mistakes.join("\n")),
    }
}

/// The share of right fields of a set of texts; notes the mistakes.
fn row(name: &str, cases: &[&Case], mistakes: &mut Vec<String>) -> Vec<String> {
    let (mut abstained, mut wrong) = (0, 0);
    let mut all: Vec<Judged> = Vec::new();
    for case in cases {
        let reading = read(&case.text);
        let judged = case.judge(&reading);
        let placed = judged.iter().all(|judged| judged.field != "components" || judged.holds());
        abstained += usize::from(!placed && reading.outside == Some(Outside::CannotTell));
        wrong += usize::from(!placed && reading.outside != Some(Outside::CannotTell));
        for judged in judged.iter().filter(|judged| !judged.holds()) {
            let Judged { field, right, read } = judged;
            mistakes.push(format!("- {name}, `{}`, {field}: {read}; right is {right}", case.name));
        }
        all.extend(judged);
    }
    let share = |field: &str| {
        let of: Vec<&Judged> = all.iter().filter(|judged| judged.field == field).collect();
        let right = of.iter().filter(|judged| judged.holds()).count();
        if of.is_empty() { "–".to_string() } else { format!("{right}/{}", of.len()) }
    };
    let counts = [name.to_string(), cases.len().to_string(), abstained.to_string(), wrong.to_string()];
    counts.into_iter().chain(FIELDS.map(share)).collect()
}
