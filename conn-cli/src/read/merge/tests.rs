use crate::{
    model::connection::{Host, Record, Source, When},
    read::{
        merge::*,
        parse::{lines::Wanted, parse},
        piece::Piece,
        recognise::Encoding,
    },
};

fn connection(client_port: u16) -> Connection {
    Connection {
        time: When::Unknown,
        remote: Host::at([192, 0, 2, 1]),
        remote_port: Some(client_port),
        local: Host::at([192, 0, 2, 9]),
        local_port: Some(80),
        ..Connection::unknown(Source::Record(Record::Pcap))
    }
}

fn syn(port: u16) -> Event {
    Event::Syn(connection(port), PacketId::sequence(u32::from(port)))
}

fn answer(port: u16) -> Event {
    Event::Answer(connection(port), PacketId::sequence(u32::from(port)))
}

/// The number of connections, and of repeated SYNs.
fn counted<const N: usize>(every_packet: bool, batches: [Vec<Event>; N]) -> (u64, u64) {
    let mut merge = Merge::new(MergeOptions {
        ports: PortSet::all(),
        filter: crate::model::filter::EndsFilter::default(),
        period: crate::model::period::Period::default(),
        strict: true,
        every_packet,
        lines_only: false,
        all_addresses: false,
    });
    for events in batches {
        let mut batch = Batch::new(Format::Pcap);
        batch.events = events;
        merge.take(batch, &mut |_| true).unwrap();
    }
    let (tally, _, stats) = merge.finish();
    (tally.connections(), stats.repeated)
}

#[test]
fn an_answer_counts_if_its_syn_was_not_captured() {
    assert_eq!(counted(false, [vec![syn(1), answer(1), answer(1)]]), (1, 0));
    assert_eq!(counted(false, [vec![answer(1), answer(2)]]), (2, 0));
    assert_eq!(counted(false, [vec![answer(1), answer(1)]]), (1, 0));
    assert_eq!(
        counted(false, [vec![syn(1)], vec![answer(1), answer(2)]]),
        (2, 0)
    );
}

#[test]
fn a_repeated_syn_counts_once_before_and_after_its_answer() {
    assert_eq!(
        counted(false, [vec![syn(1), syn(1), answer(1), syn(1)]]),
        (1, 2)
    );
    assert_eq!(counted(false, [vec![answer(1), syn(1)]]), (1, 1));
}

#[test]
fn with_every_packet_answers_without_a_syn_count() {
    assert_eq!(counted(true, [vec![syn(1), syn(1), answer(1)]]), (2, 0));
    assert_eq!(
        counted(true, [vec![syn(2), answer(2)], vec![answer(2), answer(3)]]),
        (2, 0)
    );
    assert_eq!(counted(true, [vec![answer(1), answer(1)]]), (2, 0));
}

/// The ports of the connections in lines of strace.
fn strace_ports(lines: &str) -> Vec<Option<u16>> {
    let mut merge = Merge::new(MergeOptions {
        ports: PortSet::all(),
        filter: crate::model::filter::EndsFilter::default(),
        period: crate::model::period::Period::default(),
        strict: true,
        every_packet: false,
        lines_only: false,
        all_addresses: false,
    });
    let piece = Piece::Lines(Encoding::plain(Format::Strace), lines.as_bytes().to_vec());
    let mut ports = Vec::new();
    merge
        .take(parse(&piece, &Wanted::default()), &mut |connection| {
            ports.push(connection.local_port);
            true
        })
        .unwrap();
    ports
}

#[test]
fn a_resumed_call_has_the_port_of_its_own_beginning() {
    let begin = "7 accept(3<TCP:[0.0.0.0:80]>,  <unfinished ...>\n";
    let plain = "7 accept(5,  <unfinished ...>\n";
    let end = "7 <... accept resumed>NULL, NULL) = 4\n";
    let failed = "7 <... accept resumed>0x1, [16]) = -1 EAGAIN (Again)\n";
    let other = end.replace('7', "8");
    let ports = |parts: &[&str]| strace_ports(&parts.concat());
    assert_eq!(ports(&[begin, end]), [Some(80)]);
    assert_eq!(ports(&[begin, &other, end]), [None, Some(80)]);
    assert_eq!(ports(&[begin, end, end]), [Some(80), None]);
    assert_eq!(ports(&[begin, failed, end]), [None]);
    assert_eq!(ports(&[begin, plain, end]), [None]);
}
