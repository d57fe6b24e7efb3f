//! Tables as text, or as anything else that begins like no NPY file.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use quadrivium::tables::{Header, TableReader};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.starts_with(b"\x93NUMPY") {
        return Corpus::Reject;
    }
    for header in [Header::Detect, Header::Present, Header::Absent] {
        let open = || TableReader::new(bytes, header);
        let Ok(table) = open().and_then(|reader| reader.table(usize::MAX)) else { continue };
        assert!(table.x.iter().all(|v| v.is_finite()));
        assert_eq!(table.names.len(), table.x.ncols());
        // In blocks, the rows are the same.
        let mut reader = open().expect("it has been read");
        let mut rows = table.x.rows().into_iter();
        loop {
            let block = reader.block(3).expect("it has been read");
            if block.nrows() == 0 {
                break;
            }
            assert!(block.rows().into_iter().all(|row| rows.next() == Some(row)));
        }
        assert!(rows.next().is_none());
    }
    Corpus::Keep
});
