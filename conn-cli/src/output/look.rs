//! What lines of text contain.

use jiff::Timestamp;

use crate::model::names::NetworkNames;

/// What lines contain besides the time and the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// The local port.
    pub names_port: bool,
    /// The stage, since it is not always the last.
    pub names_stage: bool,
    /// Every known detail, also in the summary.
    pub long: bool,
    /// Colours.
    pub colour: bool,
    /// The start of a live run.
    pub started: Option<Timestamp>,
    /// With [`Self::long`] those of the clients' networks.
    pub names: Option<&'static NetworkNames>,
}
