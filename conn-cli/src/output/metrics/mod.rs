//! Metrics, in the formats that Prometheus reads.

mod accept;
mod families;
#[cfg(test)]
mod tests;
mod wait;

use prometheus_client::{
    encoding::{prometheus_protobuf, prometheus_text, text},
    registry::Registry,
};

pub(crate) use self::accept::accepted;
use self::families::Families;
use crate::model::metrics::Reading;

/// What every name begins with.
const PREFIX: &str = "conn_cli";

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format 0.0.4, which everything that reads metrics knows.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Protocol buffers, each after its length: the only one with native histograms.
    Protobuf,
}

impl Format {
    /// The content type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// Renders these figures.
///
/// # Errors
/// None that is known: the library's functions return a `Result`, and only memory is written to.
pub(crate) fn render(reading: Reading, format: Format) -> Result<Vec<u8>, std::fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families(reading)));
    let mut written = String::new();
    match format {
        Format::Text => prometheus_text::encode(&mut written, &registry)?,
        Format::OpenMetrics => text::encode(&mut written, &registry)?,
        Format::Protobuf => {
            return prometheus_protobuf::encode_to_vec(&registry).map_err(|_| std::fmt::Error);
        }
    }
    Ok(written.into_bytes())
}
