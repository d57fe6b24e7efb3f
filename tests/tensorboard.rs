//! The bytes of event files. `examples/python/check_formats.py` opens one with TensorBoard.

use quadrivium::observe::TensorBoard;
use quadrivium::{Observer, Step};

const STEP: Step<'_> =
    Step { step: 0, steps: 5, loss: 0.5, part_names: &["kl"], parts: &[0.25], validation: None };

/// CRC-32C with the mask of the TFRecord format.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// The records' bytes, after a check of both checksums.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at(8);
        let size = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let sum = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
        assert_eq!(sum(rest), masked_checksum(length));
        let (record, rest) = rest[4..].split_at(size);
        assert_eq!(sum(rest), masked_checksum(record));
        records.push(record);
        bytes = &rest[4..];
    }
    records
}

fn contains(record: &[u8], part: &[u8]) -> bool {
    record.windows(part.len()).any(|window| window == part)
}

#[test]
fn event_file_begins_as_those_of_tensorflow() {
    // RFC 3720, appendix B.4, and the check value of CRC-32C.
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    let bytes = TensorBoard::new(Vec::new(), 1).unwrap().finish().unwrap();
    // A length of 24 and its checksum, and, behind the time, the version.
    assert_eq!(bytes[..12], [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
    assert_eq!(bytes[12..13], [0x09]);
    assert_eq!(bytes[21..36], *b"\x1a\x0dbrain.Event:2");
    assert_eq!(records(&bytes).len(), 1);
}

#[test]
fn events_hold_the_logged_steps_and_each_new_validation_loss() {
    let mut log = TensorBoard::new(Vec::new(), 2).unwrap();
    for step in 0..5 {
        let validation = [None, None, Some(1.5), Some(1.5), Some(1.25)][step];
        assert!(log.step(&Step { step, validation, ..STEP.clone() }).is_continue());
    }
    let bytes = log.finish().unwrap();
    let records = records(&bytes);
    // The version; steps 2 and 4, 3 with a validation loss alone, and the last.
    let steps: Vec<u8> = records[1..].iter().map(|record| record[10]).collect();
    assert_eq!(steps, [2, 3, 4, 5]);
    let with = |part: &[u8]| records[1..].iter().map(|record| contains(record, part)).collect::<Vec<bool>>();
    assert_eq!(with(b"\x0a\x0dloss/training\x15\0\0\0\x3f"), [true, false, true, true]);
    assert_eq!(with(b"\x0a\x07part/kl\x15\0\0\x80\x3e"), [true, false, true, true]);
    assert_eq!(with(b"loss/validation"), [false, true, false, true]);
    assert!(contains(records[4], b"loss/validation\x15\0\0\xa0\x3f"));
}

#[test]
fn full_disk_ends_the_log_and_not_the_training() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut log = TensorBoard::new(Full(1), 1).unwrap();
    assert!(log.step(&STEP).is_continue() && log.step(&STEP).is_continue());
    assert_eq!(log.finish().err().unwrap().kind(), std::io::ErrorKind::StorageFull);
}
