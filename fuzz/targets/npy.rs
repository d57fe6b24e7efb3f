//! Tables in NPY format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quadrivium::tables::{Header, TableReader};

fuzz_target!(|bytes: &[u8]| {
    let npy = [b"\x93NUMPY", bytes].concat();
    let Ok(mut reader) = TableReader::new(&npy[..], Header::Detect) else { return };
    let (columns, announced) = (reader.names().len(), reader.announced_rows());
    let mut rows = 0;
    while let Ok(block) = reader.block(5) {
        if block.nrows() == 0 {
            assert_eq!(announced, Some(rows));
            break;
        }
        rows += block.nrows() as u64;
        assert_eq!(block.ncols(), columns);
        assert!(block.iter().all(|v| v.is_finite()));
    }
});
