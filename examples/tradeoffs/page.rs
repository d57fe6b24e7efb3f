//! The report as one self-contained HTML page, with its pictures also in separate files.

use std::path::Path;

use quadrivium::report::Picture;

use crate::album::{self, Album, Chapter};
use crate::report::{self, Results};

/// Writes index.html and pictures/ into `dir`.
pub fn write(
    dir: &Path,
    all: &[Results],
    albums: &[Album],
    how: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(dir.join("pictures"))
        .map_err(|e| format!("{}: {e}", dir.join("pictures").display()))?;
    let mut body = String::new();
    for (results, album) in all.iter().zip(albums) {
        body += &section(dir, results, album)?;
    }
    let links: String = all
        .iter()
        .map(|results| format!("<li><a href=\"#{}\">{}</a></li>", slug(&results.data), text(&results.data)))
        .collect();
    let page = include_str!("page.html")
        .replace("{how}", &text(how))
        .replace("{links}", &links)
        .replace("{body}", &body);
    let path = dir.join("index.html");
    Ok(std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))?)
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

/// A picture in the page, and in separate SVG and PNG files.
fn figure(
    dir: &Path,
    name: &str,
    picture: &Picture,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    for ending in ["svg", "png"] {
        picture.save(dir.join(format!("pictures/{name}.{ending}")))?;
    }
    let (wide, scroll) = match picture.size().0 > 500.0 {
        true => (
            " class=\"wide\"",
            format!(" tabindex=\"0\" role=\"region\" aria-label=\"{}\"", text(picture.title())),
        ),
        false => ("", String::new()),
    };
    Ok(format!(
        "<figure{wide} id=\"{name}\">\n<div class=\"scroll\"{scroll}>\n{}</div>\n<figcaption>{} \
         <span class=\"files\"><a href=\"pictures/{name}.svg\">SVG</a> · <a href=\"pictures/{name}.png\">PNG</a></span>\
         </figcaption>\n</figure>\n",
        picture.svg(),
        text(picture.description())
    ))
}

/// A table in its own scrollable box; a click on a heading sorts it.
fn table(caption: &str, class: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let caption = text(caption);
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table class=\"{class}\">\n\
         <caption>{caption}</caption>\n<thead><tr>"
    );
    for name in header {
        out += &format!("<th scope=\"col\"><button type=\"button\">{}</button></th>", text(name));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += &format!("<tr><th scope=\"row\">{}</th>", text(&row[0]));
        row[1..].iter().for_each(|cell| out += &format!("<td>{}</td>", text(cell)));
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n"
}

fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Only letters and digits, for a file name and an anchor in the page.
fn slug(name: &str) -> String {
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    kept.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
