//! Text in UTF-8, or in UTF-16 with a byte order mark.

use std::io::{self, BufRead, Read};

/// Bytes of UTF-16 that are decoded at a time.
const CHUNK: u64 = 1 << 13;

/// How two bytes form a unit of UTF-16.
type Unit = fn([u8; 2]) -> u16;

/// A text as UTF-8: text with the byte order mark of UTF-16 is decoded, everything else is passed through.
pub struct Utf8<R> {
    reader: R,
    /// None for text in UTF-8.
    unit: Option<Unit>,
    decoded: String,
    /// How much of `decoded` has been taken.
    taken: usize,
    /// The first half of a character whose second has not been read.
    high: Option<u16>,
}

impl<R: BufRead> Utf8<R> {
    /// Consumes the byte order mark, if there is one. `start` is the beginning of the text, at least three bytes if
    /// there are as many.
    pub fn new(mut reader: R, start: &[u8]) -> io::Result<Self> {
        let (mark, unit): (_, Option<Unit>) = match start {
            [0xEF, 0xBB, 0xBF, ..] => (3, None),
            [0xFF, 0xFE, ..] => (2, Some(u16::from_le_bytes)),
            [0xFE, 0xFF, ..] => (2, Some(u16::from_be_bytes)),
            _ => (0, None),
        };
        reader.read_exact(&mut [0; 3][..mark])?;
        Ok(Utf8 { reader, unit, decoded: String::new(), taken: 0, high: None })
    }

    fn decode(&mut self, unit: Unit) -> io::Result<()> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(CHUNK).read_to_end(&mut bytes)?;
        // A text that ends within a unit gets a replacement character at its end.
        let of = |pair: &[u8]| pair.try_into().map_or(0xFFFD, unit);
        let mut units: Vec<u16> = self.high.take().into_iter().chain(bytes.chunks(2).map(of)).collect();
        if bytes.len() as u64 == CHUNK {
            self.high = units.pop_if(|last| (0xD800..0xDC00).contains(last));
        }
        let characters = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        (self.decoded, self.taken) = (characters.collect(), 0);
        Ok(())
    }
}

impl<R: BufRead> BufRead for Utf8<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Some(unit) = self.unit else { return self.reader.fill_buf() };
        if self.taken == self.decoded.len() {
            self.decode(unit)?;
        }
        Ok(&self.decoded.as_bytes()[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        match self.unit {
            None => self.reader.consume(amount),
            Some(_) => self.taken += amount,
        }
    }
}

impl<R: BufRead> Read for Utf8<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(bytes)?;
        self.consume(read);
        Ok(read)
    }
}
