//! What a cell holds: a number, nothing, or something else.

use std::borrow::Cow;

/// How numbers are written in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decimal {
    /// 1234.5: a decimal point, and no thousands separators. Other styles are refused, and the error names the option
    /// that reads them.
    #[default]
    Plain,
    /// 1,234.5 and 1234.5: a decimal point; commas, spaces or apostrophes as thousands separators.
    Point,
    /// 1.234,5 and 1234,5: a decimal comma; points, spaces or apostrophes as thousands separators.
    Comma,
}

/// The finite number that a cell holds. The exponent may be written as in Fortran (1.5D+02), and the minus may be the
/// typographic one (U+2212).
pub fn number(cell: &str, decimal: Decimal) -> Option<f64> {
    let cell = bare(cell);
    let finite = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    let plain = |text: &str| finite(text).or_else(|| finite(&respelled(text)?));
    match decimal {
        Decimal::Plain => plain(cell),
        Decimal::Point => plain(&without_groups(cell, '.', ',')?),
        Decimal::Comma => plain(&without_groups(cell, ',', '.')?),
    }
}

/// A cell without surrounding spaces, and without quotes that were not recognized because of spaces.
pub fn bare(cell: &str) -> &str {
    let cell = cell.trim();
    match cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')) {
        Some(within) => within.trim(),
        None => cell,
    }
}

/// The number with the characters that `f64` parses; none if there is nothing to replace.
fn respelled(cell: &str) -> Option<String> {
    let minus = cell.replace('\u{2212}', "-");
    let exponent = minus.find(['d', 'D']).filter(|&at| {
        let begins = |c: char| c.is_ascii_digit() || c == '+' || c == '-';
        minus[..at].ends_with(|c: char| c.is_ascii_digit() || c == '.') && minus[at + 1..].starts_with(begins)
    });
    match exponent {
        Some(at) => Some(format!("{}e{}", &minus[..at], &minus[at + 1..])),
        None => (minus != cell).then_some(minus),
    }
}

/// The number with a decimal point and without thousands separators; none unless each group has three digits.
fn without_groups(cell: &str, decimal: char, group: char) -> Option<Cow<'_, str>> {
    let (whole, rest) = cell.split_at(cell.find([decimal, 'e', 'E', 'd', 'D']).unwrap_or(cell.len()));
    let between = |c: char| c == group || matches!(c, ' ' | '\u{A0}' | '\u{202F}' | '\'' | '’');
    if rest.contains(between) || (decimal != '.' && rest.contains('.')) {
        return None;
    }
    let Some(mark) = whole.chars().find(|&c| between(c)) else {
        return Some(if decimal == '.' { cell.into() } else { cell.replacen(decimal, ".", 1).into() });
    };
    let digits = whole.trim_start_matches(['+', '-', '\u{2212}']);
    let mut groups = digits.split(mark);
    let all_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && all_digits(first));
    let grouped = first && groups.all(|group| group.len() == 3 && all_digits(group));
    grouped.then(|| format!("{}{}", whole.replace(mark, ""), rest.replacen(decimal, ".", 1)).into())
}

/// What people write for a missing value.
pub fn is_missing(cell: &str) -> bool {
    let words = ["", "na", "n/a", "nan", "null", "none", "?"];
    words.iter().any(|word| bare(cell).eq_ignore_ascii_case(word))
}

/// Whether a cell holds a whole number and `value` is a different one.
pub fn is_rounded(cell: &str, value: f64) -> bool {
    let digits = bare(cell);
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    digits.parse::<i128>().is_ok_and(|whole| whole != value as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        use Decimal::{Comma, Plain, Point};
        for (cell, plain, point, comma) in [
            ("1.5", Some(1.5), Some(1.5), None),
            ("-1.5e-3", Some(-1.5e-3), Some(-1.5e-3), None),
            ("1,5", None, None, Some(1.5)),
            ("+1,5e2", None, None, Some(150.0)),
            ("1,000", None, Some(1000.0), Some(1.0)),
            ("1.000", Some(1.0), Some(1.0), Some(1000.0)),
            ("-1,234,567.5", None, Some(-1_234_567.5), None),
            ("1.234.567,25", None, None, Some(1_234_567.25)),
            ("12 345", None, Some(12345.0), Some(12345.0)),
            ("1'234'567.5", None, Some(1_234_567.5), None),
            ("1\u{202F}234,5", None, None, Some(1234.5)),
            ("1,23,456", None, None, None),
            ("1234,567", None, None, Some(1234.567)),
            (",5", None, None, Some(0.5)),
            ("1,5,2", None, None, None),
            ("1,234 567", None, None, None),
            ("\u{2212}2.5", Some(-2.5), Some(-2.5), None),
            ("1.5D+02", Some(150.0), Some(150.0), None),
            ("\u{2212}1d-1", Some(-0.1), Some(-0.1), Some(-0.1)),
            (" \" 7 \" ", Some(7.0), Some(7.0), Some(7.0)),
            ("d1", None, None, None),
            ("1d", None, None, None),
            ("inf", None, None, None),
            ("1e999", None, None, None),
            ("", None, None, None),
            (",", None, None, None),
            ("é", None, None, None),
        ] {
            let read = [Plain, Point, Comma].map(|decimal| number(cell, decimal));
            assert_eq!(read, [plain, point, comma], "{cell:?}");
        }
    }
}
