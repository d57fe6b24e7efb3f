//! The report as one self-contained HTML page, with its pictures also in separate files.

use std::path::Path;

use quadrivium::report::page::{Page, figure, slug, table, text};

use crate::album::{self, Album, Chapter};
use crate::report::{self, Results};

/// Writes index.html and pictures/ into `dir`.
pub fn write(
    dir: &Path,
    all: &[Results],
    albums: &[Album],
    how: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut body = String::new();
    for (results, album) in all.iter().zip(albums) {
        body += &section(dir, results, album)?;
    }
    let page = Page {
        title: "trade-offs, measured",
        heading: "Trade-offs of generative models, measured",
        how,
        parts: all.iter().map(|results| results.data.as_str()).collect(),
        body,
    };
    Ok(page.write(dir)?)
}

fn section(
    dir: &Path,
    results: &Results,
    album: &Album,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let data = slug(&results.data);
    let mut out = format!(
        "<section id=\"{data}\" data-set=\"{name}\" aria-labelledby=\"{data}-heading\">\n<h2 id=\"{data}-heading\">{name}</h2>\n",
        name = text(&results.data)
    );
    let chart = album::chart(results)?;
    out += &figure(dir, &format!("{data}-tradeoffs"), &chart)?;
    let (header, rows) = results.cells();
    out += &table(&format!("What was measured on {}", results.data), "measured", &header, &rows);
    out += &format!("<p class=\"note\">{}</p>\n<ul>\n", text(&results.reference(true)));
    results.reading().iter().for_each(|line| out += &format!("<li>{}</li>\n", text(line)));
    out += "</ul>\n<details>\n<summary>What the literature predicts</summary>\n";
    let (header, rows) = report::predictions_cells(results);
    out += &table(&format!("Predictions for {}", results.data), "predicted", &header, &rows);
    out += "</details>\n";

    out += &chapter(dir, &data, &album.paths, "paths")?;
    for (k, model) in album.models.iter().enumerate() {
        out += &chapter(dir, &data, model, &format!("{:02}-{}", k + 1, slug(&model.heading)))?;
    }
    Ok(out + "</section>\n")
}

fn chapter(
    dir: &Path,
    data: &str,
    chapter: &Chapter,
    name: &str,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    if chapter.pictures.is_empty() {
        return Ok(String::new());
    }
    let mut out = format!(
        "<details open>\n<summary><h3>{}</h3></summary>\n<div class=\"figures\">\n",
        text(&chapter.heading)
    );
    for (kind, picture) in &chapter.pictures {
        out += &figure(dir, &format!("{data}-{name}-{kind}"), picture)?;
    }
    Ok(out + "</div>\n</details>\n")
}
