use std::io::Write as _;

use flate2::{Compression as Level, write::GzEncoder};

use crate::read::unpack::*;

const TEXT: &str = "one line\nanother line\n";

/// `TEXT`, compressed by `zstd`.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\xb1\x00\x00one line\nanother line\n\xd3\x21\
    \xda\xb2";

/// `TEXT`, compressed by `xz`.
const XZ: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\
    \x74\x2f\xe5\xa3\x01\x00\x15one line\nanother line\n\x00\x00\x00\xb2\xbd\x77\x74\x2b\
    \xed\xf6\x99\x00\x01\x2e\x16\x56\x09\x55\xdf\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04YZ";

fn gzip() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::none());
    encoder.write_all(TEXT.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The decompressed text, and the error after it.
fn unpacked(bytes: &[u8]) -> (String, Option<io::Error>) {
    let (head, rest) = bytes.split_at(bytes.len().min(MAGIC_LEN));
    let mut content = match unpack(head.to_vec(), rest, NonZeroU32::new(1000)) {
        Ok(content) => content,
        Err(error) => return (String::new(), Some(error)),
    };
    let mut all = Vec::new();
    let error = content.read_to_end(&mut all).err();
    (String::from_utf8_lossy(&all).into_owned(), error)
}

#[test]
fn all_streams_of_each_compression_are_unpacked() {
    for packed in [TEXT.as_bytes(), &gzip(), ZSTD, XZ] {
        let (text, error) = unpacked(packed);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text, TEXT);
        let (text, error) = unpacked(&[packed, packed, packed].concat());
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text, TEXT.repeat(3));
    }
}

#[test]
fn skippable_zstd_frames_and_xz_padding_are_skipped() {
    let skipped = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 7, 7, 7];
    let padding = [0; 8];
    for packed in [
        [&skipped, ZSTD, &skipped, &skipped, ZSTD, &skipped].concat(),
        [XZ, &padding, XZ, &padding].concat(),
    ] {
        let (text, error) = unpacked(&packed);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text, TEXT.repeat(2));
    }
    let (text, error) = unpacked(&[ZSTD, &skipped[..10]].concat());
    assert_eq!(text, TEXT);
    assert_eq!(error.unwrap().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn truncated_data_yields_everything_before_the_end() {
    for (name, packed) in [("gzip", &gzip()[..]), ("zstd", ZSTD), ("xz", XZ)] {
        let two = [packed, packed].concat();
        for cut in MAGIC_LEN..two.len() {
            let (text, error) = unpacked(&two[..cut]);
            if cut == packed.len() {
                assert!(error.is_none(), "{name} {cut}: {error:?}");
                continue;
            }
            let error = error.unwrap();
            // lzma-rust2 reports a truncated second stream as invalid data.
            let is_invalid = name == "xz" && error.kind() == io::ErrorKind::InvalidData;
            let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
            assert!(is_cut || is_invalid && cut > packed.len(), "{name} {cut}");
            assert_eq!(
                error.to_string(),
                format!("the {name} data is truncated or damaged")
            );
            assert!(TEXT.repeat(2).starts_with(&text));
            assert!(
                text.len() >= TEXT.len() * (cut / packed.len()),
                "{name} {cut}"
            );
        }
    }
}

#[test]
fn a_zstd_frame_has_the_length_that_its_header_says() {
    // One segment of so many bytes, in a last block of five.
    let frame = |length| [&b"\x28\xb5\x2f\xfd\x20"[..], &[length], b"\x29\0\0hello"].concat();
    let (text, error) = unpacked(&frame(5));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text, "hello");
    let skippable = b"\x50\x2a\x4d\x18\x01\0\0\0x";
    let several = [&frame(5)[..], skippable, skippable, &frame(5)].concat();
    let (text, error) = unpacked(&several);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text, "hellohello");
    let (_, error) = unpacked(&frame(6));
    assert_eq!(error.unwrap().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn that_zstd_data_needs_a_dictionary_is_said() {
    // One segment of five bytes, for the dictionary with the number 7.
    let (_, error) = unpacked(b"\x28\xb5\x2f\xfd\x21\x07\x05\x29\0\0hello");
    let expected =
        "the zstd data needs a dictionary: try zstd -dc -D DICTIONARY FILE | conn-cli read";
    assert_eq!(error.unwrap().to_string(), expected);
}

#[test]
fn corrupt_bytes_do_not_panic() {
    for packed in [&gzip()[..], ZSTD, XZ] {
        for at in 0..packed.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut packed = packed.to_vec();
                packed[at] = byte;
                let _ = unpacked(&packed);
            }
        }
    }
}

#[test]
fn damaged_data_is_an_error() {
    for packed in [&gzip()[..], ZSTD, XZ] {
        let mut packed = packed.to_vec();
        let at = packed.windows(3).position(|three| three == b"one").unwrap();
        packed[at] = b'O';
        let error = unpacked(&packed).1.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn frames_with_too_large_windows_are_refused() {
    // A window of 3.75 TiB, and 2 GiB of content in one segment.
    for header in [&[0x00, 0xff][..], &[0xa0, 0, 0, 0, 0x80]] {
        let packed = [&ZSTD[..4], header, &[1, 0, 0]].concat();
        let error = unpacked(&packed).1.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}

/// A zstd frame whose blocks each repeat one byte: 128 KiB of content from four bytes.
fn repeated(blocks: u32) -> Vec<u8> {
    // No checksum, and a window of 128 KiB.
    let mut frame = [&ZSTD[..4], &[0, 7 << 3]].concat();
    for block in 1..=blocks {
        let is_last = u32::from(block == blocks);
        let header = (128 * 1024) << 3 | 1 << 1 | is_last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b'\n');
    }
    frame
}

#[test]
fn content_of_any_length_is_read_only_if_asked_for() {
    let bomb = repeated(200);
    let length = |max_expansion| {
        let (head, rest) = bomb.split_at(MAGIC_LEN);
        let mut content = unpack(head.to_vec(), rest, NonZeroU32::new(max_expansion)).unwrap();
        let (mut buffer, mut length) = ([0; 4096], 0);
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return (length, String::new()),
                Ok(read) => length += read,
                Err(error) => return (length, error.to_string()),
            }
        }
    };
    let all = 200 * 128 * 1024;
    for max_expansion in [0, 40_000] {
        assert_eq!(length(max_expansion), (all, String::new()));
    }
    let (read, error) = length(1000);
    assert_eq!(
        error,
        "the zstd data expands to more than 1000 times its length: --max-expansion allows more"
    );
    // It is not read much further than what any input may have.
    assert!((16 << 20..17 << 20).contains(&read), "{read}");
    // Little content is never too much.
    let few = repeated(100);
    let (text, error) = unpacked(&few);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text.len(), 100 * 128 * 1024);
}

#[test]
fn windows_of_64_mib_are_the_largest() {
    for (packed, what, size) in [
        (window(16), "zstd", None),
        (window(17), "zstd", Some("window")),
        (dictionary(28), "xz", None),
        (dictionary(29), "xz", Some("dictionary")),
    ] {
        let (text, error) = unpacked(&packed);
        match (size, error) {
            (None, error) => {
                assert!(error.is_none(), "{what}: {error:?}");
                assert_eq!(text, TEXT);
            }
            (Some(size), error) => {
                let error = error.unwrap().to_string();
                let start = format!("the {what} data needs a {size} of more than 64 MiB: try ");
                assert!(error.starts_with(&start), "{error}");
            }
        }
    }
}

/// [`ZSTD`] with a window of 1 KiB times 2 to this power.
fn window(power: u8) -> Vec<u8> {
    let mut packed = ZSTD.to_vec();
    packed[5] = power << 3;
    packed
}

/// [`XZ`] with a dictionary of this size, as the format codes it.
fn dictionary(size: u8) -> Vec<u8> {
    // The block header has its size, flags, and one filter: its id, the length of its properties,
    // these, padding, and the CRC-32 of all that.
    let mut packed = XZ.to_vec();
    let header = 12..20;
    packed[16] = size;
    let mut crc = flate2::Crc::new();
    crc.update(&packed[header.clone()]);
    packed[header.end..header.end + 4].copy_from_slice(&crc.sum().to_le_bytes());
    packed
}

#[test]
fn unsupported_compressions_name_a_program() {
    for (head, program) in [
        (&b"BZh91AY&SY"[..], "bzcat"),
        (b"\x04\x22\x4d\x18d@", "lz4cat"),
        (b"PK\x03\x04\x14\0", "unzip -p"),
        (b"\x1f\x9d\x90", "zcat"),
        (b"LZIP\x01\x0c", "lzip -dc"),
    ] {
        let (text, error) = unpacked(head);
        assert_eq!(text, "");
        let error = error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(program));
    }
    assert_eq!(
        unpacked(b"BZh is no compression").0,
        "BZh is no compression"
    );
}

#[test]
fn io_errors_are_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(rustix::io::Errno::IO.into())
        }
    }
    for packed in [&gzip()[..], ZSTD, XZ] {
        let mut content = unpack(packed[..15].to_vec(), Broken, None).unwrap();
        let error = content.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::IO.raw_os_error())
        );
    }
}
