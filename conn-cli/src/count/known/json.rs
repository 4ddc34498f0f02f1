//! The clients in a line of conn-cli's JSON.

use std::{borrow::Cow, net::IpAddr};

use serde::Deserialize;

use super::{
    Clients,
    line::{Entry, Wrong},
};
use crate::model::{connection::Host, schema::Type};

/// What tells clients in a line of any type. Not the types of the schema: a summary can have a million
/// clients, and these take a tenth of the memory.
#[derive(Deserialize)]
struct Line<'a> {
    r#type: Type,
    #[serde(default)]
    remote_address: Option<IpAddr>,
    #[serde(default)]
    remote_name: Option<Box<str>>,
    /// Of a line of a comparison.
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default, borrow)]
    by: Option<Cow<'a, str>>,
    #[serde(default)]
    clients: Vec<Client>,
}

#[derive(Deserialize)]
struct Client {
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    network: Option<Box<str>>,
}

/// What a summary may count by; one by address does not say so.
const BY_CLIENTS: [&str; 3] = ["network", "address,port", "network,port"];

/// Adds the clients of a line.
pub(super) fn add_clients(line: &str, known: &mut Clients) -> Result<(), Wrong> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| Wrong::NotPrinted)?;
    let mut add = |client: Client| {
        let name = || Host::named(client.name?.as_bytes());
        let network = || client.network?.parse().ok().map(Entry::Network);
        let host = client.address.map(Host::at).or_else(name);
        if let Some(entry) = host.map(Entry::Host).or_else(network) {
            known.add(&entry);
        }
    };
    match line.r#type {
        Type::Connection | Type::Stage => add(Client {
            address: line.remote_address,
            name: line.remote_name,
            network: None,
        }),
        Type::Summary | Type::Totals
            if line
                .by
                .as_ref()
                .is_some_and(|by| !BY_CLIENTS.contains(&&**by)) =>
        {
            return Err(Wrong::NotByAddress);
        }
        Type::Comparison => add(Client {
            address: line.address,
            name: line.name,
            network: None,
        }),
        Type::Summary | Type::Totals => line.clients.into_iter().for_each(add),
        // Of an interval only the busiest client is there; the summary has all.
        Type::Interval | Type::Over | Type::ComparisonSummary | Type::Unknown => (),
    }
    Ok(())
}
