//! A self-contained HTML page of tables and pictures, which are also in separate files.
//!
//! ```
//! use quadrivium::report::{Curve, growth, page::{Page, figure, slug, table}};
//!
//! let dir = std::env::temp_dir().join(format!("page-{}", std::process::id()));
//! let square = Curve { name: "a square".into(), points: vec![(1.0, 1.0), (4.0, 16.0)] };
//! let picture = growth("Areas", ("side, m", "area, m²"), &[square])?;
//! let mut body = format!("<section id=\"{}\">\n<h2>Areas</h2>\n", slug("Areas"));
//! body += &figure(&dir, "areas", &picture)?;
//! body += &table("Areas", "measured", &["side", "area"], &[vec!["1".into(), "1".into()]]);
//! body += "</section>\n";
//! Page { title: "areas", heading: "Areas", how: "By rule.", parts: vec!["Areas"], body }.write(&dir)?;
//! assert!(dir.join("index.html").is_file() && dir.join("pictures/areas.png").is_file());
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), quadrivium::Error>(())
//! ```

use std::path::Path;

use super::Picture;
use crate::error::{Error, FileError, Result};

/// The page; what is in it is text, except for the body.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// What the page is about, for the browser's title.
    pub title: &'a str,
    /// The heading.
    pub heading: &'a str,
    /// How the page came to be.
    pub how: &'a str,
    /// The names of the sections, whose ids are their [`slug`]s.
    pub parts: Vec<&'a str>,
    /// HTML: sections with [`figure`]s and [`table`]s.
    pub body: String,
}

/// The error of a file or folder that cannot be written.
fn unwritten(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |source| Error::File(FileError::Io { path: path.display().to_string(), source })
}

impl Page<'_> {
    /// Writes `index.html` into `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        let link = |part: &&str| format!("<li><a href=\"#{}\">{}</a></li>", slug(part), text(part));
        let page = include_str!("page.html")
            .replace("{title}", &text(self.title))
            .replace("{heading}", &text(self.heading))
            .replace("{how}", &text(self.how))
            .replace("{links}", &self.parts.iter().map(link).collect::<String>())
            .replace("{body}", &self.body);
        let path = dir.join("index.html");
        std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, page)).map_err(unwritten(&path))
    }
}

/// A picture in the page, and in separate SVG and PNG files in `dir`/pictures.
///
/// # Errors
/// [`FileError::Io`].
pub fn figure(dir: &Path, name: &str, picture: &Picture) -> Result<String> {
    let pictures = dir.join("pictures");
    std::fs::create_dir_all(&pictures).map_err(unwritten(&pictures))?;
    for ending in ["svg", "png"] {
        picture.save(pictures.join(format!("{name}.{ending}")))?;
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

/// A table in its own scrollable box; a click on a heading sorts it. Each row starts with its name.
///
/// `class`: "measured" and others have numbers on the right; "predicted" and "verdicts" have text.
pub fn table(caption: &str, class: &str, header: &[&str], rows: &[Vec<String>]) -> String {
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
        let Some((name, cells)) = row.split_first() else { continue };
        out += &format!("<tr><th scope=\"row\">{}</th>", text(name));
        cells.iter().for_each(|cell| out += &format!("<td>{}</td>", text(cell)));
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n"
}

/// Text as HTML.
pub fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Only letters and digits, for a file name and an anchor in the page.
pub fn slug(name: &str) -> String {
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    kept.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
