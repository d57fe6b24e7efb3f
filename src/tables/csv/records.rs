//! Records of a text, cell by cell, as defined in RFC 4180.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{parse, shortened};
use crate::error::Result;
use crate::tables::MOST_COLUMNS;
use crate::tables::reader::unreadable;

/// The longest record that is read into memory: 16 MiB.
const LONGEST_RECORD: usize = 1 << 24;

/// The most spaces in a record if spaces are the separator.
const MOST_SPACES: usize = 1 << 20;

/// The separator if there is only one column: the unit separator, which no table of numbers contains.
pub const NONE: u8 = 0x1F;

/// Records of a text, one in memory at a time. A cell in quotes may hold separators, line ends and doubled quotes; a
/// quote anywhere else is an ordinary character. If the separator is a space, a run of spaces counts as one. Empty
/// lines are skipped.
pub struct Records<R> {
    reader: R,
    core: Reader,
    separator: u8,
    /// The cells of the record, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    cells: usize,
    /// The line where the record begins, from 1.
    line: u64,
    /// Whether the present record is to be returned again.
    again: bool,
}

impl<R: BufRead> Records<R> {
    /// The records of a text whose first line has this number. Lines that begin with `comment` are skipped.
    pub fn new(reader: R, separator: u8, comment: Option<u8>, line: u64) -> Self {
        let mut core = ReaderBuilder::new().delimiter(separator).comment(comment).build();
        core.set_line(line);
        let (bytes, ends) = (vec![0; 1 << 10], vec![0; 1 << 6]);
        Records { reader, core, separator, bytes, ends, cells: 0, line, again: false }
    }

    /// Makes the next call return the present record again.
    pub fn step_back(&mut self) {
        self.again = true;
    }

    /// Goes to the next record; false at the end.
    ///
    /// # Errors
    /// The reader's errors, and an error for a record that is too long or has too many cells.
    pub fn advance(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        loop {
            if !self.read()? {
                return Ok(false);
            }
            if self.separator == b' ' {
                self.join_spaces();
            }
            let blank = match self.cells {
                0 => true,
                1 => self.ends[0] > 0 && self.bytes[..self.ends[0]].trim_ascii().is_empty(),
                _ => false,
            };
            if !blank {
                break;
            }
        }
        match self.cells > MOST_COLUMNS {
            true => Err(self.too_many()),
            false => Ok(true),
        }
    }

    fn read(&mut self) -> Result<bool> {
        let (mut written, mut cells, mut taken) = (0, 0, 0);
        let most = if self.separator == b' ' { MOST_SPACES } else { MOST_COLUMNS + 1 };
        let before = self.core.line();
        let ended_by = loop {
            let input = self.reader.fill_buf().map_err(unreadable)?;
            let (result, read, wrote, ended) =
                self.core.read_record(input, &mut self.bytes[written..], &mut self.ends[cells..]);
            let last = input[..read].last().copied();
            self.reader.consume(read);
            (written, cells) = (written + wrote, cells + ended);
            if written + cells > 0 {
                taken += read;
            }
            match result {
                ReadRecordResult::InputEmpty if taken <= LONGEST_RECORD => {}
                ReadRecordResult::OutputFull if self.bytes.len() < LONGEST_RECORD => {
                    self.bytes.resize(2 * self.bytes.len(), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < most => {
                    self.ends.resize((2 * self.ends.len()).min(most), 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::InputEmpty => {
                    (self.cells, self.line) = (cells, before);
                    let start = cells.checked_sub(1).map_or(0, |last| self.ends[last]);
                    return Err(self.too_long(&self.bytes[start..written]));
                }
                ReadRecordResult::OutputEndsFull => {
                    (self.cells, self.line) = (cells, before);
                    return Err(self.too_many());
                }
                ReadRecordResult::Record => break last,
                ReadRecordResult::End => return Ok(false),
            }
        };
        self.cells = cells;
        if ended_by == Some(b'\r') {
            // The second half of \r\n; an old \r alone ends a line, too.
            let more = self.reader.fill_buf().map_err(unreadable)?;
            if more.first() != Some(&b'\n') {
                self.core.set_line(self.core.line() + 1);
            } else {
                let (_, read, ..) = self.core.read_record(b"\n", &mut [0], &mut [0]);
                self.reader.consume(read);
            }
        }
        let after = self.core.line();
        let within = self.bytes[..written].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let own = within + u64::from(ended_by.is_some_and(|byte| matches!(byte, b'\r' | b'\n')));
        self.line = after.saturating_sub(own).max(before);
        Ok(true)
    }

    /// Drops empty cells: those between the spaces of a run.
    fn join_spaces(&mut self) {
        let (mut start, mut kept, mut written) = (0, 0, 0);
        for cell in 0..self.cells {
            let end = self.ends[cell];
            if end > start {
                self.bytes.copy_within(start..end, written);
                written += end - start;
                self.ends[kept] = written;
                kept += 1;
            }
            start = end;
        }
        self.cells = kept;
    }

    fn too_long(&self, cell: &[u8]) -> crate::error::Error {
        let unclosed = if cell.contains(&b'\n') { ": is a quote not closed?" } else { "" };
        let start = String::from_utf8_lossy(&cell[..cell.len().min(256)]);
        let expected = format!("a record of at most {LONGEST_RECORD} bytes{unclosed}");
        parse(self.line, self.cells, &shortened(&start), expected)
    }

    fn too_many(&self) -> crate::error::Error {
        parse(self.line, MOST_COLUMNS, "another cell", format!("at most {MOST_COLUMNS} columns"))
    }

    /// The reader of the text.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The number of the line where the record begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Number of cells of the record.
    pub fn len(&self) -> usize {
        self.cells
    }

    /// The cells, without their quotes.
    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends[..self.cells].iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}
