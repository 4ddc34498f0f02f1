use std::cmp::Reverse;

use crate::{
    count::ranking::{counts::UNKNOWN, *},
    model::{connection::Host, group::Grouping},
};

fn client(number: u8) -> GroupKey {
    GroupKey::Client(Host::at([192, 0, 2, number]))
}

#[test]
fn what_is_added_in_parts_is_one_client() {
    let mut counts = Counts::new([Stage::Syn, Stage::Accepted]);
    for (stage, port, connections) in [
        (Stage::Accepted, Some(443), 1),
        (Stage::Syn, Some(80), 9),
        (Stage::Accepted, Some(80), 2),
        (Stage::Accepted, None, 4),
        (Stage::Accepted, Some(443), 8),
    ] {
        for key in [client(1), GroupKey::Port(Some(7))] {
            counts.add(stage, key, port, connections);
        }
    }
    counts.add_other(Stage::Syn, 5);
    for key in [client(1), GroupKey::Port(Some(7))] {
        counts.add_refused(key, Some(80), 3);
    }
    counts.add_other_refused(2);
    assert_eq!(counts.refused(), (8, 2));
    assert_eq!(
        counts.totals(),
        [(Stage::Syn, 23), (Stage::Accepted, 30)].into()
    );
    assert_eq!(
        counts.others(),
        [(Stage::Syn, 5), (Stage::Accepted, 0)].into()
    );
    let ranking = counts.ranked();
    let one = |key| Client {
        key,
        connections: 15,
        ports: [(80, 2), (443, 9)].into(),
        refused: 3,
        earlier: [(Stage::Syn, 9)].into(),
    };
    let clients: Vec<_> = ranking.clients().collect();
    assert_eq!(clients, [one(client(1)), one(GroupKey::Port(Some(7)))]);
}

#[test]
fn the_totals_are_of_the_clients_that_are_kept() {
    let mut counts = Counts::new([Stage::Syn, Stage::Accepted]);
    let ipv6 = GroupKey::Client(Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]));
    for key in [client(1), client(2), ipv6.clone()] {
        counts.add(Stage::Accepted, key.clone(), Some(80), 3);
        counts.add(Stage::Syn, key.clone(), Some(80), 5);
        counts.add_refused(key, Some(80), 2);
    }
    counts.add_other(Stage::Accepted, 7);
    counts.add_other_refused(1);
    counts.retain(|key| *key != client(1));
    assert_eq!(
        counts.totals(),
        [(Stage::Syn, 10), (Stage::Accepted, 13)].into()
    );
    assert_eq!(
        counts.others(),
        [(Stage::Syn, 0), (Stage::Accepted, 7)].into()
    );
    assert_eq!(counts.refused(), (5, 1));
    let kept: Vec<_> = counts.ranked().clients().map(|client| client.key).collect();
    assert_eq!(kept, [client(2), ipv6]);
}

#[test]
fn many_clients_of_few_groups_take_little_memory() {
    let mut counts = Counts::new([Stage::Accepted]);
    for number in 0..10_000_u16 {
        let (key, port) = (GroupKey::Port(Some(number % 5)), Some(number % 5));
        counts.add(Stage::Accepted, key, port, 1);
    }
    let entries = counts.others.capacity();
    assert!(entries < 100, "{entries}");
    let ranking = counts.ranked();
    let connections = ranking.clients().map(|client| client.connections);
    assert_eq!(Vec::from_iter(connections), [2000; 5]);
}

#[test]
fn later_stages_come_first() {
    let mut counts = Counts::new(Stage::ALL);
    for (number, stage, connections) in [
        (1, Stage::Syn, 9),
        (2, Stage::Established, 1),
        (3, Stage::Syn, 9),
        (4, Stage::Accepted, 1),
        (4, Stage::Syn, 1),
    ] {
        counts.add(stage, client(number), Some(80), connections);
    }
    let mut ranking = counts.ranked();
    let keys = |ranking: &Ranking| ranking.clients().map(|client| client.key).collect();
    let order: Vec<_> = keys(&ranking);
    assert_eq!(order, [client(4), client(2), client(1), client(3)]);
    assert_eq!((ranking.len(), ranking.connected()), (4, 1));
    assert_eq!(
        ranking.remove(&client(2)).unwrap().earlier[&Stage::Established],
        1
    );
    assert_eq!(ranking.remove(&client(2)), None);
    let sums = Sums {
        clients: 1,
        connections: 0,
        earlier: [(Stage::Syn, 9), (Stage::Established, 0)].into(),
        refused: 0,
    };
    assert_eq!(ranking.split_off(2), sums);
    assert_eq!(
        ranking.split_off(2),
        Sums {
            clients: 0,
            earlier: [(Stage::Syn, 0), (Stage::Established, 0)].into(),
            ..Sums::default()
        }
    );
    let order: Vec<_> = keys(&ranking);
    assert_eq!(order, [client(4), client(1)]);
}

#[test]
fn the_first_are_in_their_order() {
    let counts = || {
        let mut counts = Counts::new([Stage::Accepted]);
        for number in 0..200_u8 {
            let connections = u64::from(number.wrapping_mul(77)) / 4;
            counts.add(Stage::Accepted, client(number), None, connections);
            let ipv6 = Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)]);
            let ipv6 = GroupKey::Client(ipv6);
            counts.add(Stage::Accepted, ipv6, None, connections);
        }
        counts
    };
    let all: Vec<_> = counts().ranked().clients().collect();
    assert!(all.is_sorted_by_key(|client| (Reverse(client.connections), client.key.clone())));
    for first in [0, 1, 77, 399, 400, 1000] {
        let mut ranking = counts().first_ranked(first);
        let sums = ranking.split_off(first);
        let (kept, others) = all.split_at(first.min(all.len()));
        assert_eq!(ranking.clients().collect::<Vec<_>>(), kept);
        let connections = others.iter().map(|client| client.connections).sum();
        assert_eq!(
            (sums.clients, sums.connections),
            (others.len(), connections)
        );
    }
}

#[test]
fn a_pair_of_client_and_port_is_a_row() {
    let by: Grouping = "address,port".parse().unwrap();
    let mut counts = Counts::new([Stage::Syn, Stage::Accepted]).by(by);
    let ipv6 = GroupKey::Client(Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]));
    let name = GroupKey::Client(Host::named(b"web.example").unwrap());
    let mut expected = Vec::new();
    for key in [client(1), client(2), ipv6, name] {
        for (port, connections) in [(None, 4), (Some(80), 3), (Some(443), 2)] {
            counts.add(Stage::Accepted, key.clone(), port, connections - 1);
            counts.add(Stage::Accepted, key.clone(), port, 1);
            counts.add(Stage::Syn, key.clone(), port, 9);
            counts.add_refused(key.clone(), port, 1);
            expected.push(Client {
                key: GroupKey::WithPort(Box::new(key.clone()), port),
                connections,
                ports: port.map(|port| (port, connections)).into_iter().collect(),
                earlier: [(Stage::Syn, 9)].into(),
                refused: 1,
            });
        }
    }
    // Whatever the port.
    for port in [Some(80), Some(443), None] {
        counts.add(Stage::Accepted, UNKNOWN, port, 5);
    }
    let mut ranking = counts.ranked();
    assert_eq!(ranking.remove(&UNKNOWN).unwrap().connections, 15);
    expected.sort_by_key(|client| Reverse(client.connections));
    assert_eq!(ranking.clients().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_taken_from_others_keeps_the_total() {
    let by_network: Grouping = "network".parse().unwrap();
    let of_clients = vec![(40, Some(5)), (40, Some(20)), (3, None)];
    // Those of further clients of the network, too.
    let of_network = vec![(83, Some(20))];
    for (by, expected) in [(Grouping::default(), of_clients), (by_network, of_network)] {
        let mut counts = Counts::new([Stage::Accepted]).by(by);
        let group = |number| by.what().group(client(number), Some(80));
        counts.add(Stage::Accepted, group(1), Some(80), 3);
        counts.add_other(Stage::Accepted, 100);
        for (number, error) in [(2, 5), (3, 21)] {
            let key = (group(number), Some(80));
            counts.take_from_other(Stage::Accepted, key, 40, error);
        }
        assert_eq!(counts.totals(), [(Stage::Accepted, 103)].into());
        assert_eq!(counts.others(), [(Stage::Accepted, 20)].into());
        let ranking = counts.clone().ranked();
        let rows = ranking.counts();
        let rows: Vec<_> = rows
            .map(|(key, connections)| (connections, ranking.error(&key)))
            .collect();
        assert_eq!(rows, expected);
        // More than there are: what is read while programs count.
        counts.take_from_other(Stage::Accepted, (group(4), Some(80)), 21, 7);
        assert_eq!(counts.connections(Stage::Accepted), 103);
        assert_eq!(counts.others(), [(Stage::Accepted, 0)].into());
    }
}
