//! A text as words: where each stands, the form by which it is compared, and what separates it from the word before.

use std::ops::Range;

/// What stands between a word and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// Spaces, a hyphen, a line break, markup.
    None,
    Comma,
    /// A colon, a semicolon, a parenthesis, a dash, the border of a table's cell.
    Clause,
    Sentence,
}

#[derive(Debug, Clone)]
pub struct Word {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// The form by which words are compared; see [`canonical`].
    pub form: String,
    /// The value of a number, in digits or as a word.
    pub number: Option<f64>,
    pub before: Break,
    /// Which sentence it stands in.
    pub sentence: usize,
    /// A dash joins it to the word before, as in 25–50.
    pub joined: bool,
    pub plural: bool,
}

/// The words of a text. `StyleGAN2` is three: a change from a small letter to a capital one, or from letters to
/// digits, separates, and so does a hyphen, so that `next-token` and `next token` are the same.
pub fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut gap = Gap::default();
    while let Some((start, first)) = chars.next() {
        if !first.is_alphanumeric() {
            let next = chars.peek().map(|&(_, c)| c);
            gap.pass(first, next, words.last());
            continue;
        }
        let digits = first.is_ascii_digit();
        let (mut end, mut last) = (start + first.len_utf8(), first);
        let mut letters = String::from(first);
        while let Some(&(at, c)) = chars.peek() {
            let inside = match c {
                // Invisible: a soft hyphen, joiners, a byte-order mark.
                '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => true,
                '\'' | '’' if !digits => true,
                '.' | ',' if digits => {
                    let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
                    let following = rest.iter().take_while(|byte| byte.is_ascii_digit()).take(4).count();
                    if c == '.' { following > 0 } else { following == 3 }
                }
                c if digits => c.is_ascii_digit(),
                c => c.is_alphanumeric() && !c.is_ascii_digit() && !(last.is_lowercase() && c.is_uppercase()),
            };
            if !inside {
                break;
            }
            chars.next();
            let owns =
                |rest: &str| rest.starts_with(['s', 'S']) && !rest[1..].starts_with(char::is_alphanumeric);
            if matches!(c, '\'' | '’') && owns(&text[at + c.len_utf8()..]) {
                chars.next();
                break;
            }
            if c.is_alphanumeric() || c == '.' {
                letters.push(c);
                last = c;
            }
            if c.is_alphanumeric() {
                end = at + c.len_utf8();
            }
        }
        let form = canonical(&letters);
        let number = if digits { letters.parse().ok() } else { number_word(&form) };
        let plural = !digits && is_plural(&letters.to_lowercase());
        let (before, joined) = gap.take();
        // The first word begins a sentence.
        let before = if words.is_empty() { Break::Sentence } else { before };
        let sentence = words.last().map_or(0, |last| last.sentence + usize::from(before == Break::Sentence));
        words.push(Word { span: start..end, form, number, before, sentence, joined, plural });
    }
    words
}

/// What has been seen since the last word.
#[derive(Default)]
struct Gap {
    found: Option<Break>,
    lines: usize,
    space: bool,
    joined: bool,
}

impl Gap {
    fn pass(&mut self, c: char, next: Option<char>, before: Option<&Word>) {
        let ends = next.is_none_or(|next| !next.is_alphanumeric());
        let line_starts = self.lines > 0;
        let found = match c {
            '\n' => {
                self.lines += 1;
                if self.lines > 1 { Break::Sentence } else { Break::None }
            }
            // A heading, an item of a list, a row of a table.
            '#' | '*' | '•' | '|' | '>' if line_starts => Break::Sentence,
            '-' | '+' | '–' | '—' if line_starts && next == Some(' ') => Break::Sentence,
            '.' if ends && !before.is_some_and(abbreviated) => Break::Sentence,
            '!' | '?' | '。' => Break::Sentence,
            ':' | ';' | '(' | ')' | '|' | '—' => Break::Clause,
            '-' | '–' if self.space && next == Some(' ') => Break::Clause,
            ',' => Break::Comma,
            _ => Break::None,
        };
        let dash = matches!(c, '-' | '\u{2010}'..='\u{2014}' | '\u{2212}');
        self.joined |= dash && found == Break::None;
        self.space = c.is_whitespace();
        self.found = self.found.max(Some(found));
    }

    fn take(&mut self) -> (Break, bool) {
        let Gap { found, joined, .. } = std::mem::take(self);
        (found.unwrap_or(Break::None), joined)
    }
}

/// Whether a full stop behind this word ends no sentence.
fn abbreviated(word: &Word) -> bool {
    const SHORT: [&str; 12] = ["al", "vs", "fig", "eq", "cf", "approx", "e", "g", "i", "resp", "ca", "incl"];
    SHORT.contains(&word.form.as_str())
}

/// The form by which a word of a text and a word of a rule are compared: small letters, singular, and one spelling for
/// what is written -ise or -ize, with one l or two. It is no English word itself.
///
/// `Normalising`, `normalizing` → `normalising`; `distilled`, `distiled` → `distiled`; `losses` → `loss`.
pub fn canonical(word: &str) -> String {
    let lower = word.to_lowercase();
    let singular = match is_plural(&lower) {
        true if lower.ends_with("ies") && lower.len() > 4 => format!("{}y", &lower[..lower.len() - 3]),
        true if ["sses", "shes", "ches", "xes"].iter().any(|end| lower.ends_with(end)) => {
            lower[..lower.len() - 2].to_string()
        }
        true => lower[..lower.len() - 1].to_string(),
        false => lower,
    };
    let mut form = String::with_capacity(singular.len());
    for c in singular.chars() {
        let c = if c == 'z' { 's' } else { c };
        if !(c == 'l' && form.ends_with('l')) {
            form.push(c);
        }
    }
    form
}

fn is_plural(word: &str) -> bool {
    word.len() > 3 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end))
}

fn number_word(form: &str) -> Option<f64> {
    const NAMES: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    const TENS: [(&str, f64); 13] = [
        ("single", 1.0),
        ("sixteen", 16.0),
        ("twenty", 20.0),
        ("thirty", 30.0),
        ("thirtytwo", 32.0),
        ("forty", 40.0),
        ("fifty", 50.0),
        ("sixty", 60.0),
        ("sixtyfour", 64.0),
        ("eighty", 80.0),
        ("hundred", 100.0),
        ("thousand", 1_000.0),
        ("fifteen", 15.0),
    ];
    let small = NAMES.iter().position(|name| canonical(name) == form).map(|value| value as f64);
    small.or_else(|| TENS.iter().find(|(name, _)| *name == form).map(|(_, value)| *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.form).collect()
    }

    #[test]
    fn spellings_of_one_word_have_one_form() {
        for same in [
            &[
                "next-token",
                "Next Token",
                "next‑token",
                "next\ntokens",
                "**next** _token_",
                "next\u{2013}token",
            ][..],
            &["normalizing", "Normalising", "NORMALIZING"],
            &["distilled", "distiled"],
            &["GANs", "gan", "GAN's"],
            &["VAEs", "vae", "v\u{ad}ae"],
            &["losses", "loss"],
            &["energies", "energy"],
        ] {
            for other in same {
                assert_eq!(forms(other), forms(same[0]), "{other}");
            }
        }
        assert_eq!(forms("StyleGAN2, DiffWave, R1"), ["style", "gan", "2", "diff", "wave", "r", "1"]);
    }

    #[test]
    fn breaks_are_those_of_sentences_and_clauses() {
        let breaks: Vec<(String, Break)> = words("One, two: three e.g. four. Five\n\nSix\n- seven 7.5 (x)")
            .into_iter()
            .filter(|word| word.before != Break::None)
            .map(|word| (word.form, word.before))
            .collect();
        let expected = [
            ("one", Break::Sentence),
            ("two", Break::Comma),
            ("three", Break::Clause),
            ("five", Break::Sentence),
            ("six", Break::Sentence),
            ("seven", Break::Sentence),
            ("x", Break::Clause),
        ];
        assert_eq!(breaks, expected.map(|(form, found)| (form.to_string(), found)));
    }

    #[test]
    fn numbers_are_read_in_digits_and_words() {
        let numbers: Vec<f64> =
            words("1,500 and 7.5 or fifty, 25–50; 3.").into_iter().filter_map(|word| word.number).collect();
        assert_eq!(numbers, [1500.0, 7.5, 50.0, 25.0, 50.0, 3.0]);
        assert!(words("25–50")[1].joined);
    }
}
