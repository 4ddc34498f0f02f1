use crate::read::{capture::*, piece::PREFIX_LEN};

/// The timestamp, link type and length of the prefix of each packet.
type Found = Vec<(Option<(i64, u32)>, u16, usize)>;

const TIME: (i64, u32) = (1_700_000_000, 123_456_000);

/// Reads a capture; returns its packets, and why it was not read to its end.
fn read_capture(input: impl Read) -> (Found, Option<(io::ErrorKind, String)>) {
    let mut found = Vec::new();
    let result = cut(input, &mut |piece| {
        let Piece::Packets(packets) = piece else {
            panic!("there are only packets");
        };
        assert!(!packets.is_empty());
        let packets = packets.iter();
        found.extend(packets.map(|(packet, bytes)| (packet.time, packet.link_type, bytes.len())));
        Ok(())
    });
    let why = match result {
        Ok(()) => None,
        Err(ReadError::Io(error)) => Some((error.kind(), error.to_string())),
        Err(read_error) => panic!("{read_error:?}"),
    };
    (found, why)
}

/// A reader that returns one byte at a time.
struct OneByteReads<'a>(&'a [u8]);

impl Read for OneByteReads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

fn numbers(is_big: bool, numbers: &[u32]) -> Vec<u8> {
    let bytes = |number: &u32| {
        if is_big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    };
    numbers.iter().flat_map(bytes).collect()
}

fn pcap_header(is_big: bool, magic: u32, link_type: u32) -> Vec<u8> {
    let version = if is_big { 2 << 16 | 4 } else { 4 << 16 | 2 };
    numbers(is_big, &[magic, version, 0, 0, 262_144, link_type])
}

fn pcap_record(is_big: bool, fraction: u32, length: usize) -> Vec<u8> {
    let captured = u32::try_from(length).unwrap();
    let mut record = numbers(is_big, &[1_700_000_000, fraction, captured, 1500]);
    record.extend(vec![7; length]);
    record
}

fn block(is_big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap();
    let mut block = numbers(is_big, &[kind, length]);
    block.extend(body);
    block.extend(numbers(is_big, &[length]));
    block
}

fn section(is_big: bool) -> Vec<u8> {
    block(
        is_big,
        0x0a0d_0d0a,
        &numbers(is_big, &[0x1a2b_3c4d, 1, !0, !0]),
    )
}

fn interface(is_big: bool, link_type: u16, options: &[u8]) -> Vec<u8> {
    let mut body = if is_big {
        link_type.to_be_bytes()
    } else {
        link_type.to_le_bytes()
    }
    .to_vec();
    body.extend([0, 0]);
    body.extend(numbers(is_big, &[100]));
    body.extend(options);
    block(is_big, 1, &body)
}

/// An option with its length in the byte order of the section.
fn option(is_big: bool, code: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    let mut option = if is_big {
        vec![0, code, 0, length]
    } else {
        vec![code, 0, length, 0]
    };
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

fn enhanced(is_big: bool, interface: u32, time: u64, length: usize) -> Vec<u8> {
    let [high, low] = [(time >> 32) as u32, time as u32];
    let captured = u32::try_from(length).unwrap();
    let mut body = numbers(is_big, &[interface, high, low, captured, 1500]);
    body.extend(vec![7; length.next_multiple_of(4)]);
    // A comment.
    body.extend(option(is_big, 1, b"hello"));
    block(is_big, 6, &body)
}

/// A file with every kind of block, and the end of each block with the number of packets so far.
fn pcapng(is_big: bool) -> (Vec<u8>, Vec<(usize, usize)>) {
    let offset = if is_big {
        1_600_000_000_i64.to_be_bytes()
    } else {
        1_600_000_000_i64.to_le_bytes()
    };
    let nanoseconds = option(is_big, 9, &[9]);
    let halves = [option(is_big, 9, &[0x81]), option(is_big, 14, &offset)].concat();
    let micros = 1_700_000_000_123_456;
    let blocks = [
        (0, section(is_big)),
        (0, interface(is_big, 1, &[])),
        (0, interface(is_big, 113, &nanoseconds)),
        (0, interface(is_big, 101, &halves)),
        (1, enhanced(is_big, 0, micros, 60)),
        (1, enhanced(is_big, 1, micros * 1000, 61)),
        (0, block(is_big, 0x0bad, &[9; 400])),
        (1, enhanced(is_big, 2, 200_000_001, 62)),
        (
            1,
            block(
                is_big,
                3,
                &[&numbers(is_big, &[1500])[..], &[7; 104]].concat(),
            ),
        ),
        (0, section(!is_big)),
        (0, interface(!is_big, 276, &[])),
        (1, enhanced(!is_big, 0, micros, 500)),
    ];
    let mut file = Vec::new();
    let mut ends = vec![(0, 0)];
    let mut packets = 0;
    for (is_packet, block) in blocks {
        file.extend(block);
        packets += is_packet;
        ends.push((file.len(), packets));
    }
    (file, ends)
}

fn pcapng_packets() -> Found {
    vec![
        (Some(TIME), 1, 60),
        (Some(TIME), 113, 61),
        (Some((1_700_000_000, 500_000_000)), 101, 62),
        // No timestamp; after the 100 bytes that were captured there is padding.
        (None, 1, 100),
        (Some(TIME), 276, PREFIX_LEN),
    ]
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_precisions() {
    for (is_big, magic, fraction) in [
        (false, 0xa1b2_c3d4, 123_456),
        (true, 0xa1b2_c3d4, 123_456),
        (false, 0xa1b2_3c4d, 123_456_000),
        (true, 0xa1b2_3c4d, 123_456_000),
    ] {
        // The bits above the link type announce a frame check sequence of four bytes.
        let mut file = pcap_header(is_big, magic, 0x4400_0001);
        for length in [0, 60, 1500] {
            file.extend(pcap_record(is_big, fraction, length));
        }
        let expected = [0, 60, PREFIX_LEN].map(|length| (Some(TIME), 1, length));
        assert_eq!(read_capture(&file[..]), (expected.to_vec(), None));
        assert_eq!(read_capture(OneByteReads(&file)), (expected.to_vec(), None));
    }
}

#[test]
fn modified_pcap_is_read() {
    let mut file = pcap_header(false, 0xa1b2_cd34, 1);
    for _ in 0..2 {
        let mut record = pcap_record(false, 123_456, 60);
        record.splice(16..16, [9; 8]);
        file.extend(record);
    }
    assert_eq!(
        read_capture(&file[..]),
        (vec![(Some(TIME), 1, 60); 2], None)
    );
}

#[test]
fn pcapng_is_read_in_both_byte_orders() {
    for is_big in [false, true] {
        let (file, _) = pcapng(is_big);
        assert_eq!(read_capture(&file[..]), (pcapng_packets(), None));
        assert_eq!(read_capture(OneByteReads(&file)), (pcapng_packets(), None));
        let mut old = [section(is_big), interface(is_big, 1, &[])].concat();
        let time = numbers(is_big, &[0, 395_812, 0x1d4c_6bc0, 60, 60]);
        old.extend(block(is_big, 2, &[&time[..], &[7; 60]].concat()));
        let (found, why) = read_capture(&old[..]);
        assert_eq!((found.len(), found[0].1, found[0].2, why), (1, 1, 60, None));
    }
}

#[test]
fn many_packets_stay_in_order() {
    let mut file = pcap_header(false, 0xa1b2_3c4d, 1);
    for number in 0..3 * PACKETS_PER_PIECE as u32 + 5 {
        file.extend(pcap_record(false, number, 500));
    }
    let (found, why) = read_capture(&file[..]);
    assert_eq!(why, None);
    assert_eq!(found.len(), 3 * PACKETS_PER_PIECE + 5);
    let times = found.iter().map(|(time, ..)| time.unwrap().1);
    assert!(times.eq(0..found.len() as u32));
}

#[test]
fn long_blocks_without_packets_are_skipped() {
    let mut file = [section(false), interface(false, 1, &[])].concat();
    file.extend(block(false, 10, &vec![7; 8 << 20]));
    file.extend(enhanced(false, 0, 0, 60));
    assert_eq!(read_capture(&file[..]), (vec![(Some((0, 0)), 1, 60)], None));
    file.truncate(4 << 20);
    let expected = "the capture is truncated after packet 0, at byte 48".to_owned();
    let expected = (io::ErrorKind::UnexpectedEof, expected);
    assert_eq!(read_capture(&file[..]), (vec![], Some(expected)));
}

#[test]
fn a_truncated_file_yields_all_complete_packets() {
    let pcap_ends: Vec<_> = [0, 24, 100, 176, 252]
        .into_iter()
        .zip([0, 0, 1, 2, 3])
        .collect();
    let mut pcap = pcap_header(false, 0xa1b2_c3d4, 1);
    for _ in 0..3 {
        pcap.extend(pcap_record(false, 123_456, 60));
    }
    let (pcapng, pcapng_ends) = pcapng(true);
    for (file, ends, packets) in [
        (pcap, pcap_ends, vec![(Some(TIME), 1, 60); 3]),
        (pcapng, pcapng_ends, pcapng_packets()),
    ] {
        for cut in 0..=file.len() {
            let &(end, count) = ends.iter().rfind(|(end, _)| *end <= cut).unwrap();
            let (found, why) = read_capture(&file[..cut]);
            assert_eq!(found, packets[..count], "{cut}");
            let expected = format!("the capture is truncated after packet {count}, at byte {end}");
            let expected = (io::ErrorKind::UnexpectedEof, expected);
            assert_eq!(why, (cut != end).then_some(expected), "{cut}");
        }
    }
}

#[test]
fn invalid_lengths_are_damage() {
    let damaged = |file: &[u8]| {
        let (found, why) = read_capture(file.chain(io::repeat(0).take(1 << 27)));
        let (kind, why) = why.unwrap();
        assert_eq!(kind, io::ErrorKind::InvalidData);
        assert!(
            why.starts_with("the capture is damaged after packet 1, at byte "),
            "{why}"
        );
        assert_eq!(found.len(), 1);
    };
    for length in [MAX_PACKET_LEN + 1, i32::MAX as usize, u32::MAX as usize] {
        for is_big in [false, true] {
            let mut file = pcap_header(is_big, 0xa1b2_c3d4, 1);
            file.extend(pcap_record(is_big, 0, 60));
            let length = u32::try_from(length).unwrap();
            file.extend(numbers(is_big, &[1, 1, length, length]));
            damaged(&file);
        }
    }
    let mut begin = [section(false), interface(false, 1, &[])].concat();
    begin.extend(enhanced(false, 0, 1, 60));
    for kind in [1, 2, 3, 6, 9, 0x0a0d_0d0a, 0x7777] {
        for length in [0, 4, 11, 13, 1 << 25, u32::MAX - 3, u32::MAX] {
            let block = numbers(false, &[kind, length, 0x1a2b_3c4d]);
            damaged(&[&begin[..], &block].concat());
        }
    }
    // An interface without description, and a packet that is longer than its block.
    damaged(&[&begin[..], &enhanced(false, 1, 1, 60)].concat());
    let mut packet = enhanced(false, 0, 1, 60);
    packet[20..24].copy_from_slice(&[0xff; 4]);
    damaged(&[&begin[..], &packet].concat());
}

#[test]
fn corrupt_bytes_do_not_panic() {
    let mut pcap = pcap_header(true, 0xa1b2_3c4d, 1);
    pcap.extend(pcap_record(true, 0, 60));
    pcap.extend(pcap_record(true, 0, 60));
    for file in [pcap, pcapng(false).0, pcapng(true).0] {
        for at in 0..file.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
                let mut file = file.clone();
                file[at] = byte;
                let _ = read_capture(&file[..]);
            }
        }
    }
}

#[test]
fn a_packet_is_emitted_before_a_blocking_read() {
    let mut file = pcap_header(false, 0xa1b2_c3d4, 1);
    file.extend(pcap_record(false, 0, 60));
    let (reader, mut writer) = io::pipe().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        cut(reader, &mut |_| sender.send(()).map_err(|_| Stopped)).unwrap();
    });
    io::Write::write_all(&mut writer, &file).unwrap();
    receiver.recv().unwrap();
    drop(writer);
    thread.join().unwrap();
}

#[test]
fn io_errors_are_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::NotConnected.into())
        }
    }
    let mut file = pcap_header(false, 0xa1b2_c3d4, 1);
    file.extend(pcap_record(false, 0, 60));
    let (found, why) = read_capture(file.chain(Broken));
    assert_eq!(
        (found.len(), why.unwrap().0),
        (1, io::ErrorKind::NotConnected)
    );
}
