//! Which format a request accepts.

use super::Format;

/// The format that these values of `Accept` prefer: the first of those with the greatest weight (RFC 9110,
/// 12.5.1). Text, if they name none that there is: that is what people and most programs can use.
pub(crate) fn accepted<'a>(values: impl Iterator<Item = &'a str>) -> Format {
    let mut best = (0.0, Format::Text);
    for range in values.flat_map(|value| value.split(',')) {
        if let Some((weight, format)) = parse(range)
            && weight > best.0
        {
            best = (weight, format);
        }
    }
    best.1
}

/// The weight and the format of one media range, if there is such a format.
fn parse(range: &str) -> Option<(f32, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut weight = 1.0;
    let (mut version, mut proto, mut encoding) = (None, None, None);
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match &*name.trim().to_ascii_lowercase() {
            "q" => weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" => version = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => (),
        }
    }
    let format = match &*media {
        "text/plain" if version.is_none_or(|version| version == "0.0.4") => Format::Text,
        "text/*" | "*/*" => Format::Text,
        "application/openmetrics-text"
            if version.is_none_or(|version| ["0.0.1", "1.0.0"].contains(&version)) =>
        {
            Format::OpenMetrics
        }
        "application/vnd.google.protobuf"
            if proto == Some("io.prometheus.client.MetricFamily")
                && encoding == Some("delimited") =>
        {
            Format::Protobuf
        }
        _ => return None,
    };
    Some((weight, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_weight_decides() {
        const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/xhtml+xml, */*;q=0.8", Format::Text),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            // And with native histograms.
            (
                &format!("{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1"),
                Format::Protobuf,
            ),
            (&format!("{PROTOBUF};q=0.1, text/plain;q=0.2"), Format::Text),
            (&format!("{PROTOBUF};q=0, text/plain;q=0"), Format::Text),
            ("application/vnd.google.protobuf", Format::Text),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8, Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=2", Format::Text),
            ("application/openmetrics-text;q=NaN", Format::Text),
            ("application/openmetrics-text;q=7", Format::Text),
            ("application/openmetrics-text;q", Format::Text),
            (",;,=;q=1,\u{1f}", Format::Text),
        ] {
            assert_eq!(accepted([accept].into_iter()), format, "{accept}");
        }
        let several = ["text/plain;q=0.3", "application/openmetrics-text;q=0.4"];
        assert_eq!(accepted(several.into_iter()), Format::OpenMetrics);
        assert_eq!(accepted([].into_iter()), Format::Text);
    }
}
