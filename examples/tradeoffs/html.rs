//! A self-contained HTML page with pictures, which are also in separate files.

use std::path::Path;

use quadrivium::report::Picture;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The page; what is in it is text, except for the body.
pub struct Page<'a> {
    pub title: &'a str,
    pub heading: &'a str,
    /// How the page came to be.
    pub how: &'a str,
    /// The names of the sections, whose ids are their [`slug`]s.
    pub parts: Vec<&'a str>,
    pub body: String,
}

impl Page<'_> {
    /// Writes `index.html` into `dir`.
    pub fn write(&self, dir: &Path) -> Outcome<()> {
        let link = |part: &&str| format!("<li><a href=\"#{}\">{}</a></li>", slug(part), text(part));
        let page = include_str!("page.html")
            .replace("{title}", &text(self.title))
            .replace("{heading}", &text(self.heading))
            .replace("{how}", &text(self.how))
            .replace("{links}", &self.parts.iter().map(link).collect::<String>())
            .replace("{body}", &self.body);
        let path = dir.join("index.html");
        let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, page));
        Ok(written.map_err(|e| format!("{}: {e}", path.display()))?)
    }
}

/// A picture in the page, and in separate SVG and PNG files.
pub fn figure(dir: &Path, name: &str, picture: &Picture) -> Outcome<String> {
    let pictures = dir.join("pictures");
    std::fs::create_dir_all(&pictures).map_err(|e| format!("{}: {e}", pictures.display()))?;
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

/// A table in its own scrollable box; a click on a heading sorts it.
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
        out += &format!("<tr><th scope=\"row\">{}</th>", text(&row[0]));
        row[1..].iter().for_each(|cell| out += &format!("<td>{}</td>", text(cell)));
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n"
}

pub fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Only letters and digits, for a file name and an anchor in the page.
pub fn slug(name: &str) -> String {
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    kept.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
