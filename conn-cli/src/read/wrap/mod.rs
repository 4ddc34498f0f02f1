//! What other programs put around lines: the header of a syslog daemon or of journalctl, the time and the
//! stream of a container's log, the name of a container, the number of grep -n, the mark of a quotation
//! in a mail, or a JSON object.

mod header;
mod json;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::parse::lines::Wanted;
use crate::model::{connection::When, format::Format};

/// One layer around each line of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    /// `Nov 22 14:25:37 host tag[12]: LINE`, and with other times.
    Syslog,
    /// `2026-11-22T14:25:37.123456789Z stdout F LINE`: the files of Kubernetes' container runtimes.
    Cri,
    /// `2026-11-22T14:25:37.123456789Z LINE`: docker logs -t.
    Time,
    /// `{"message":"LINE"}`, also docker's json-file and journalctl -o json.
    Json,
    /// `web-1  | LINE` of docker compose, `[pod/web/nginx] LINE` of kubectl.
    Container,
    /// `17:LINE`, `17-LINE`, `kern.log:17:LINE`, `kern.log:LINE`, and that of cat -n.
    Grep,
    /// `> LINE`
    Quote,
}

/// The layers around each line of an input, the outer one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrappers([Option<Wrapper>; MAX_LAYERS]);

/// How many layers there may be.
const MAX_LAYERS: usize = 3;

/// A line without what is around it.
#[derive(Debug)]
pub(crate) struct Inner<'a> {
    pub line: Cow<'a, [u8]>,
    /// When the layers say that it was written.
    pub time: When,
    /// The host on which the innermost of them that names one says that it was written.
    pub host: Option<Cow<'a, [u8]>>,
    /// Who wrote it, as far as the layers say so, the outer one first.
    pub tags: [Option<Cow<'a, [u8]>>; MAX_LAYERS],
}

impl Wrapper {
    /// All.
    pub(crate) const ALL: [Self; 7] = [
        Self::Syslog,
        Self::Cri,
        Self::Time,
        Self::Json,
        Self::Container,
        Self::Grep,
        Self::Quote,
    ];

    /// Its name for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Syslog => "syslog headers",
            Self::Cri => "a container log",
            Self::Time => "docker logs -t",
            Self::Json => "JSON",
            Self::Container => "names of containers",
            Self::Grep => "the output of grep",
            Self::Quote => "a quotation",
        }
    }

    /// Whether an input that has only such lines is likely to have this layer. [`Self::peel`] takes more.
    pub(crate) fn is_likely(self, line: &[u8]) -> bool {
        match self {
            // A runtime writes nanoseconds, without zeros at the end. A syslog daemon does not, and its
            // lines must not lose their tag.
            Self::Time => header::has_nanoseconds(line),
            _ => true,
        }
    }

    /// Takes this layer off. None if the line does not have it.
    fn peel<'a>(self, line: &'a [u8], wants_time: bool) -> Option<Inner<'a>> {
        let plain = |line: &'a [u8]| Inner {
            line: Cow::Borrowed(line),
            time: When::Unknown,
            host: None,
            tags: Default::default(),
        };
        match self {
            Self::Syslog => header::syslog(line, wants_time),
            Self::Cri => header::cri(line, wants_time),
            Self::Time => header::time(line, wants_time),
            Self::Json => json::peel(line),
            Self::Container => header::container(line).map(plain),
            Self::Grep => header::grep(line).map(plain),
            Self::Quote => header::quote(line).map(plain),
        }
    }

    /// Whether lines of this format may be in this layer.
    fn may_wrap(self, format: Format) -> bool {
        match (self, format) {
            // A kernel log has these headers itself, and its parser judges them.
            (Self::Syslog, Format::KernelLog | Format::Ulogd) => false,
            // These are some lines of a log, which may be of any program.
            (Self::Grep | Self::Container, Format::Ulogd) => false,
            (_, Format::Pcap) => false,
            _ => true,
        }
    }
}

impl Wrappers {
    /// Adds an inner layer. None if there are too many, or it is grep's twice: any numbers look like that.
    pub(crate) fn with(mut self, wrapper: Wrapper) -> Option<Self> {
        if wrapper == Wrapper::Grep && self.layers().any(|layer| layer == wrapper) {
            return None;
        }
        let free = self.0.iter_mut().find(|layer| layer.is_none())?;
        *free = Some(wrapper);
        Some(self)
    }

    /// The layers.
    pub(crate) fn layers(self) -> impl Iterator<Item = Wrapper> {
        self.0.into_iter().flatten()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    /// Whether lines of this format may be in all layers.
    pub(crate) fn may_wrap(self, format: Format) -> bool {
        self.layers().all(|layer| layer.may_wrap(format))
    }

    /// Takes all layers off. None if the line does not have them.
    pub(crate) fn peel(self, line: &[u8], wants_time: bool) -> Option<Inner<'_>> {
        let mut inner = Inner {
            line: Cow::Borrowed(line),
            time: When::Unknown,
            host: None,
            tags: Default::default(),
        };
        for (depth, layer) in self.layers().enumerate() {
            inner = inner.peel(layer, depth, wants_time)?;
        }
        Some(inner)
    }
}

impl Inner<'_> {
    /// Takes one more layer off.
    fn peel(self, layer: Wrapper, depth: usize, wants_time: bool) -> Option<Self> {
        let Self {
            line,
            time,
            host,
            mut tags,
        } = self;
        let mut inner = match line {
            Cow::Borrowed(line) => layer.peel(line, wants_time)?,
            Cow::Owned(line) => layer.peel(&line, wants_time)?.into_owned(),
        };
        tags[depth] = inner.tags[0].take();
        Some(Self {
            line: inner.line,
            time: match inner.time {
                When::Unknown => time,
                inner => inner,
            },
            host: inner.host.or(host),
            tags,
        })
    }

    fn into_owned<'b>(self) -> Inner<'b> {
        Inner {
            line: Cow::Owned(self.line.into_owned()),
            time: self.time,
            host: self.host.map(|host| Cow::Owned(host.into_owned())),
            tags: self.tags.map(|tag| Some(Cow::Owned(tag?.into_owned()))),
        }
    }
}

/// Whether a line with these tags is believed to be from the program that writes this format. Each must be its
/// own: the text in the line of another program may look like a layer, too.
pub(super) fn is_believed(format: Format, tags: &[Option<Cow<'_, [u8]>>], wanted: &Wanted) -> bool {
    let believed: &[&[u8]] = match format {
        Format::KernelLog => &[b"kernel", b"klogd", b"ulogd"],
        // `tcpdump -ttt -r pflog | logger -t pf` of the guide to pf, and pfSense before 2.2.
        Format::Tcpdump => &[b"tcpdump", b"pf"],
        Format::Strace => &[b"strace"],
        Format::Json | Format::Text => &[b"conn-cli"],
        Format::Ulogd => &[b"ulogd"],
        Format::Tcpaccept => &[
            b"tcpaccept",
            b"tcptracer",
            b"tcpaccept-bpfcc",
            b"tcptracer-bpfcc",
            b"bpftrace",
            b"tcpaccept.bt",
        ],
        Format::Conntrack => &[b"conntrack"],
        Format::Zeek => &[b"zeek"],
        Format::Suricata => &[b"suricata"],
        Format::VpcFlow | Format::Pcap => &[],
    };
    wanted.any_program || { tags.iter().flatten() }.all(|tag| believed.contains(&&**tag))
}
