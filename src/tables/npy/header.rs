//! The header of an NPY file: a Python dictionary of type, order and shape.

use super::{Stored, broken};
use crate::error::{Error, Result};

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Description {
    pub stored: Stored,
    pub fortran: bool,
    pub rows: u64,
    pub columns: u64,
}

/// A text that is parsed from its start.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.wrong(&format!("{token:?}"))) }
    }

    fn wrong(&self, expected: &str) -> Error {
        let found: String = self.0.chars().take(20).collect();
        broken(format!("the header has {found:?} where {expected} is expected"))
    }

    /// A string in quotes of either kind.
    fn string(&mut self) -> Result<&'a str> {
        for quote in ["'", "\""] {
            if self.eat(quote)
                && let Some((string, rest)) = self.0.split_once(quote)
            {
                self.0 = rest;
                return Ok(string);
            }
        }
        Err(self.wrong("a string"))
    }

    fn number(&mut self) -> Result<u64> {
        self.0 = self.0.trim_start();
        let end = self.0.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(self.0.len());
        let number = self.0[..end].parse().map_err(|_| self.wrong("a size"))?;
        self.0 = &self.0[end..];
        Ok(number)
    }
}

impl Description {
    /// Of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut text = Cursor(text);
        let (mut stored, mut fortran, mut shape) = (None, None, None);
        text.expect("{")?;
        while !text.eat("}") {
            let key = text.string()?;
            text.expect(":")?;
            match key {
                "descr" => {
                    if !text.0.trim_start().starts_with(['\'', '"']) {
                        return Err(broken("its rows are records: expected one type of number"));
                    }
                    let descr = text.string()?;
                    let of = Stored::parse(descr).ok_or_else(|| {
                        let numbers = "f2 to f8, i1 to i8, u1 to u8 or b1";
                        broken(format!("its values have the type {descr:?}: expected {numbers}"))
                    });
                    stored = Some(of?);
                }
                "fortran_order" => match (text.eat("True"), text.eat("False")) {
                    (false, false) => return Err(text.wrong("True or False")),
                    (order, _) => fortran = Some(order),
                },
                "shape" => {
                    text.expect("(")?;
                    let mut sizes = Vec::new();
                    while !text.eat(")") {
                        sizes.push(text.number()?);
                        // Python 2 wrote (40L, 2L).
                        text.eat("L");
                        if !text.eat(",") {
                            text.expect(")")?;
                            break;
                        }
                    }
                    shape = Some(sizes);
                }
                other => return Err(broken(format!("the header has an unknown field {other:?}"))),
            }
            if !text.eat(",") {
                text.expect("}")?;
                break;
            }
        }
        let (Some(stored), Some(fortran), Some(shape)) = (stored, fortran, shape) else {
            return Err(broken("the header lacks one of descr, fortran_order and shape"));
        };
        let (rows, columns) = match shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => return Err(broken(format!("its shape is {shape:?}: expected rows and columns"))),
        };
        let bytes = rows.checked_mul(columns).and_then(|n| n.checked_mul(stored.bytes as u64));
        if columns == 0 || bytes.is_none_or(|bytes| bytes > i64::MAX as u64) {
            return Err(broken(format!(
                "its shape is {shape:?}: expected at least one column, and less than 2⁶³ bytes"
            )));
        }
        // One column is the same in either order, and C order can be read row by row.
        Ok(Description { stored, fortran: fortran && columns > 1, rows, columns })
    }
}
