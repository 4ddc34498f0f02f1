use crate::model::ports::PortSet;
use crate::{
    count::seen::Seen,
    model::{
        clock::{Clock, Dial},
        connection::{Host, Record, Source, When},
    },
    read::{
        encoding::Encoding,
        merge::*,
        parse::{lines::Wanted, parse},
        piece::Piece,
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

fn options(every_packet: bool) -> MergeOptions {
    MergeOptions {
        ports: PortSet::all(),
        filter: crate::model::filter::EndsFilter::default(),
        period: crate::model::period::Period::default(),
        strict: false,
        every_packet,
        lines_only: false,
        all_addresses: false,
        names: None,
    }
}

/// The connections, and what is known of the SYNs that do not count.
fn merged<const N: usize>(every_packet: bool, batches: [Vec<Event>; N]) -> (u64, ReadStats) {
    let mut merge = Merge::new(MergeOptions {
        strict: true,
        ..options(every_packet)
    });
    for events in batches {
        let mut batch = Batch::new(Format::Pcap);
        batch.events = events;
        merge.take(&mut batch, &mut |_| true).unwrap();
    }
    let (tally, _, stats) = merge.finish();
    (tally.connections(), stats)
}

/// The number of connections, and of repeated SYNs.
fn counted<const N: usize>(every_packet: bool, batches: [Vec<Event>; N]) -> (u64, u64) {
    let (connections, stats) = merged(every_packet, batches);
    (connections, stats.repeated)
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
        names: None,
    });
    let piece = Piece::Lines(Encoding::plain(Format::Strace), lines.as_bytes().to_vec());
    let mut ports = Vec::new();
    merge
        .take(&mut parse(&piece, &Wanted::default()), &mut |connection| {
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

/// A packet from port 1 of the client, so many milliseconds after midnight.
struct Sent {
    at: Option<i64>,
    server: u8,
    id: PacketId,
}

impl Sent {
    fn connection(&self) -> Connection {
        let clock = self.at.and_then(|at| Clock::new(Dial::Day, at * 1000));
        Connection {
            time: clock.map_or(When::Unknown, When::Clock),
            local: Host::at([192, 0, 2, self.server]),
            ..connection(1)
        }
    }

    fn syn(self) -> Event {
        Event::Syn(self.connection(), self.id)
    }

    fn answer(self) -> Event {
        Event::Answer(self.connection(), self.id)
    }

    /// From the client.
    fn end(self) -> Event {
        Event::End(self.connection())
    }

    /// From the server.
    fn server_end(self) -> Event {
        let connection = self.connection();
        Event::End(Connection {
            remote: connection.local,
            remote_port: connection.local_port,
            local: connection.remote,
            local_port: connection.remote_port,
            ..connection
        })
    }
}

/// A packet to the usual server.
fn at(at: impl Into<Option<i64>>, sequence: impl Into<Option<u32>>, ip_id: u16) -> Sent {
    Sent {
        at: at.into(),
        server: 9,
        id: PacketId {
            sequence: sequence.into(),
            ip_id: Some(ip_id),
        },
    }
}

/// The connections, retransmitted SYNs, those of them known by ports, and duplicates.
fn numbers(events: Vec<Event>) -> [u64; 4] {
    let (connections, stats) = merged(false, [events]);
    [
        connections,
        stats.repeated,
        stats.repeated_by_ports,
        stats.duplicates,
    ]
}

#[test]
fn a_packet_that_is_logged_twice_counts_once() {
    // With a number and without.
    for sequence in [Some(5), None] {
        let twice = vec![at(0, sequence, 7).syn(), at(0, sequence, 7).syn()];
        assert_eq!(numbers(twice), [1, 0, 0, 1], "{sequence:?}");
        let later = vec![at(0, sequence, 7).syn(), at(2000, sequence, 7).syn()];
        assert_eq!(numbers(later), [1, 0, 0, 1], "{sequence:?}");
        let earlier = vec![at(1000, sequence, 7).syn(), at(0, sequence, 7).syn()];
        assert_eq!(numbers(earlier), [1, 0, 0, 1], "{sequence:?}");
        let timeless = vec![at(None, sequence, 7).syn(), at(None, sequence, 7).syn()];
        assert_eq!(numbers(timeless), [1, 0, 0, 1], "{sequence:?}");
        // An id of 0 tells nothing: only that no system sends a SYN again so soon.
        let zero = vec![at(0, sequence, 0).syn(), at(0, sequence, 0).syn()];
        assert_eq!(numbers(zero), [1, 0, 0, 1], "{sequence:?}");
    }
    // One record of the packet has no number.
    let mixed = vec![at(0, 5, 7).syn(), at(0, None, 7).syn(), at(0, 5, 7).syn()];
    assert_eq!(numbers(mixed), [1, 0, 0, 2]);
}

#[test]
fn without_numbers_addresses_ports_and_times_tell() {
    let seconds = |times: &[i64]| {
        let syn = |(index, second): (usize, &i64)| at(second * 1000, None, index as u16 + 1).syn();
        numbers(times.iter().enumerate().map(syn).collect())
    };
    assert_eq!(seconds(&[0, 1, 3, 7, 15, 31, 63]), [1, 6, 6, 0]);
    assert_eq!(seconds(&[0, 127]), [1, 1, 1, 0]);
    assert_eq!(seconds(&[0, 128]), [2, 0, 0, 0]);
    // From the first SYN on.
    assert_eq!(seconds(&[0, 100, 200]), [2, 1, 1, 0]);
    assert_eq!(seconds(&[86_399, 2]), [1, 1, 1, 0]);
    // The same id again is that of another packet.
    let same_id = vec![at(0, None, 7).syn(), at(128_000, None, 7).syn()];
    assert_eq!(numbers(same_id), [2, 0, 0, 0]);
    // Without times, a SYN with another id may be a new connection as well.
    let timeless = vec![at(None, None, 7).syn(), at(None, None, 8).syn()];
    assert_eq!(numbers(timeless), [2, 0, 0, 0]);
    let timeless = vec![at(None, None, 0).syn(), at(None, None, 0).syn()];
    assert_eq!(numbers(timeless), [2, 0, 0, 0]);
}

#[test]
fn what_ends_are_not_known_cannot_repeat_anything() {
    let syn = || {
        let Event::Syn(connection, id) = at(0, None, 7).syn() else {
            unreachable!();
        };
        let remote_port = None;
        Event::Syn(
            Connection {
                remote_port,
                ..connection
            },
            id,
        )
    };
    assert_eq!(numbers(vec![syn(), syn()]), [2, 0, 0, 0]);
}

#[test]
fn a_packet_before_and_after_dnat_is_one() {
    let to = |server, ms: i64, sequence: Option<u32>, ip_id| Sent {
        server,
        ..at(ms, sequence, ip_id)
    };
    for ip_id in [0, 7] {
        let packet = vec![
            to(9, 0, Some(5), ip_id).syn(),
            to(10, 1, Some(5), ip_id).syn(),
            to(10, 1, Some(5), ip_id).syn(),
            to(10, 2, Some(5), 0).answer(),
            to(9, 2, Some(5), 0).answer(),
        ];
        assert_eq!(numbers(packet), [1, 0, 0, 2], "{ip_id}");
    }
    // Only the answers are captured.
    let answers = vec![
        to(10, 2, Some(5), 0).answer(),
        to(9, 2, Some(5), 0).answer(),
    ];
    assert_eq!(numbers(answers), [1, 0, 0, 0]);
    for (other, expected) in [
        // Another packet, a second later, another number, none.
        (to(10, 1, Some(5), 8), 2),
        (to(10, 1000, Some(5), 7), 2),
        (to(10, 1, Some(6), 7), 2),
        (to(10, 1, None, 7), 2),
        (to(10, 999, Some(5), 7), 1),
    ] {
        let packets = vec![
            to(9, 0, other.id.sequence.and(Some(5)), 7).syn(),
            other.syn(),
        ];
        assert_eq!(numbers(packets)[0], expected);
    }
    // Sent again, it is again one packet on both sides.
    let again = vec![
        to(9, 0, Some(5), 7).syn(),
        to(10, 1, Some(5), 7).syn(),
        to(9, 1000, Some(5), 8).syn(),
        to(10, 1001, Some(5), 8).syn(),
    ];
    assert_eq!(numbers(again), [1, 2, 0, 1]);
}

#[test]
fn an_end_makes_room_for_a_new_connection() {
    let connection = |start: i64, sequence: Option<u32>| {
        [
            at(start, sequence, 1).syn(),
            at(start, sequence, 0).answer(),
            at(start + 1, None, 0).end(),
            at(start + 1, None, 0).server_end(),
        ]
    };
    for sequence in [Some(5), None] {
        let reused = || (0..5).flat_map(|n| connection(n * 2, sequence));
        assert_eq!(numbers(reused().collect())[0], 5, "{sequence:?}");
        // As captured on another interface, to a file of its own.
        let twice = reused().chain(reused()).collect();
        assert_eq!(numbers(twice)[0], 5, "{sequence:?}");
        // In the same second, as a log has it.
        let quick = (0..5).flat_map(|_| {
            [
                at(0, sequence, 1).syn(),
                at(0, sequence, 0).answer(),
                at(0, None, 0).end(),
            ]
        });
        assert_eq!(numbers(quick.collect())[0], 5, "{sequence:?}");
        let timeless = (0..5).flat_map(|_| [at(None, sequence, 1).syn(), at(None, None, 0).end()]);
        assert_eq!(numbers(timeless.collect())[0], 5, "{sequence:?}");
    }
    // Only the packets from the server, or from the client.
    let answers = (0..5).flat_map(|n| [at(n, 5, 0).answer(), at(n, None, 0).server_end()]);
    assert_eq!(numbers(answers.collect())[0], 5);
    let syns = (0..5).flat_map(|n| [at(n, 5, 0).syn(), at(n, None, 0).end()]);
    assert_eq!(numbers(syns.collect())[0], 5);
    // With another number in between.
    let other = connection(0, Some(5))
        .into_iter()
        .chain(connection(2, Some(6)));
    assert_eq!(numbers(other.chain(connection(4, Some(5))).collect())[0], 3);
    // That of another connection.
    let elsewhere = Sent {
        server: 10,
        ..at(1, None, 0)
    };
    let syns = vec![at(0, 5, 1).syn(), elsewhere.end(), at(2000, 5, 2).syn()];
    assert_eq!(numbers(syns), [1, 1, 0, 0]);
}

#[test]
fn a_refused_syn_that_is_sent_again_is_one_attempt() {
    let syn = |ms| at(ms, 5, ms as u16 + 1).syn();
    let reset = |ms| at(ms, None, 0).server_end();
    let windows = vec![
        syn(0),
        reset(0),
        syn(500),
        reset(500),
        syn(1000),
        reset(1000),
    ];
    assert_eq!(numbers(windows), [1, 2, 0, 0]);
    let later = vec![syn(0), reset(0), syn(1000)];
    assert_eq!(numbers(later), [2, 0, 0, 0]);
    // The server still has the connection before: the client resets that.
    let half_open = vec![
        at(0, 4, 1).syn(),
        at(0, 4, 0).answer(),
        at(9000, 5, 2).syn(),
        at(9001, None, 0).end(),
        at(10_000, 5, 3).syn(),
        at(10_000, 5, 0).answer(),
    ];
    assert_eq!(numbers(half_open), [2, 1, 0, 0]);
    // Its answer is on the way when the client resets it.
    let crossed = vec![
        syn(0),
        at(1, 5, 0).answer(),
        at(2, None, 0).end(),
        at(3, 5, 0).answer(),
    ];
    assert_eq!(numbers(crossed), [1, 0, 0, 0]);
}

/// As in conntrack's events.
#[test]
fn an_answer_without_a_number_belongs_to_its_syn() {
    assert_eq!(
        numbers(vec![at(0, None, 0).syn(), at(900_000, None, 0).answer()])[0],
        1
    );
    assert_eq!(
        numbers(vec![at(0, None, 0).answer(), at(0, None, 0).answer()])[0],
        1
    );
    let other = Sent {
        server: 10,
        ..at(0, None, 0)
    };
    assert_eq!(numbers(vec![at(0, None, 0).syn(), other.answer()])[0], 2);
    let ended = vec![
        at(0, None, 0).syn(),
        at(2, None, 0).end(),
        at(3000, None, 0).answer(),
    ];
    assert_eq!(numbers(ended)[0], 2);
    let timeless = vec![at(None, None, 0).syn(), at(None, None, 0).answer()];
    assert_eq!(numbers(timeless)[0], 1);
    assert_eq!(
        counted(true, [vec![at(0, None, 0).syn(), at(0, None, 0).answer()]]),
        (1, 0)
    );
}

#[test]
fn every_packet_counts_duplicates_too() {
    let (connections, stats) = merged(true, [vec![at(0, 5, 7).syn(), at(0, 5, 7).syn()]]);
    assert_eq!((connections, stats.duplicates), (2, 0));
    let by_ports = vec![at(0, None, 7).syn(), at(3000, None, 8).syn()];
    assert_eq!(counted(true, [by_ports]), (2, 0));
}

#[test]
fn that_syns_were_forgotten_too_early_is_said() {
    let flood = |step: i64| {
        let syn = move |n: i64| {
            let Event::Syn(connection, id) = at(n * step / 1000, n as u32, 1).syn() else {
                unreachable!();
            };
            let remote = Host::at(std::net::Ipv4Addr::from_bits(n as u32));
            Event::Syn(
                Connection {
                    remote,
                    ..connection
                },
                id,
            )
        };
        let events = (0..repeats::MIN_REMEMBERED as i64 * 2 + 1)
            .map(syn)
            .collect();
        let (connections, stats) = merged(false, [events]);
        assert_eq!(connections, repeats::MIN_REMEMBERED as u64 * 2 + 1);
        stats.forgot_syns
    };
    assert!(!flood(700));
    assert!(flood(100));
}

/// If only counts are wanted, they are those of the events, whatever is between the connections.
#[test]
fn connections_that_only_count_are_counted_alike() {
    let call = |client: u8, result: &str| {
        format!(
            "12 1395029583.12345{client} accept(3, {{sa_family=AF_INET, sin_port=htons(37822), \
             sin_addr=inet_addr(\"192.0.2.{client}\")}}, [16]) = {result}\n"
        )
    };
    let unfinished = "13 accept(3<TCP:[0.0.0.0:80]>,  <unfinished ...>\n";
    let resumed =
        call(9, "4").replace("12 1395029583.123459 accept(3, ", "13 <... accept resumed>");
    for lines in [
        call(1, "4") + &call(2, "5") + &call(1, "4"),
        call(1, "4") + &call(3, "-1 EAGAIN (x)") + "x\n" + &call(0, "5") + &call(1, "4 <0.1>"),
        call(1, "4") + unfinished + &call(2, "5") + &resumed + &call(1, "4"),
        resumed + &call(2, "5"),
        String::new(),
    ] {
        let piece = Piece::Lines(Encoding::plain(Format::Strace), lines.clone().into_bytes());
        let [whole, counts] = [false, true].map(|only_counts| {
            let wanted = Wanted {
                only_counts,
                ..Wanted::default()
            };
            let mut batch = parse(&piece, &wanted);
            let mut seen = Seen::default();
            seen.add_all(&batch.counted.seen);
            let mut merge = Merge::new(options(false)).within(Some(Room::Clients(1)));
            merge.begin(InputStats {
                name: "input".to_owned(),
                ..InputStats::default()
            });
            let mut show = |connection: &Connection| {
                seen.add(&connection.time);
                true
            };
            merge.take(&mut batch, &mut show).unwrap();
            let (tally, _, stats) = merge.finish();
            let times = seen.times_of(2).or(seen.times_of(3));
            (tally, stats, times)
        });
        assert_eq!(whole, counts, "{lines}");
    }
}
