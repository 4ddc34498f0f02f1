//! Turns the inputs into parsed batches, in the order of the records: one thread reads, others
//! parse.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    thread,
};

use indicatif::ProgressBar;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    batch::{Batch, Room},
    cut::RecycledBuffers,
    dates::{InputDates, WantedDates, scan},
    error::{ReadError, Stopped},
    how::How,
    input,
    parse::{lines::Wanted, parse_into},
    piece::Piece,
    reader, unpack,
};
use crate::model::read_stats::InputStats;

/// What a [`Feed`] returns for each input, in this order.
#[derive(Debug)]
pub(crate) enum FeedItem {
    /// The input that the next items are from, of which nothing has been read, and what is known of its
    /// dates.
    Begin(InputStats, InputDates),
    /// Parsed records.
    Batch(Batch),
    /// Why the input was not read to its end.
    Failed(String),
}

/// Pieces that one thread reads and others parse.
#[derive(Debug)]
pub(crate) struct Feed {
    messages: mpsc::Receiver<ReaderMessage>,
    /// What was received from the reader, in order.
    queue: VecDeque<Parsing>,
    /// The most of it.
    queue_len: usize,
    jobs: usize,
    wanted: Wanted,
    /// Returns the buffers of parsed pieces to the reader.
    recycle: Sender<Vec<u8>>,
    /// The memory of counted batches.
    rooms: Vec<Room>,
}

/// The most pieces that wait to be parsed.
const READ_AHEAD: usize = 2;

/// How many more pieces than threads are parsed or wait to be counted, so that every thread has one while others
/// are counted.
const PARSE_AHEAD: usize = 4;

/// The largest buffer that is recycled.
const MAX_RECYCLED_LEN: usize = 1024 * 1024;

/// The same for connections.
const MAX_RECYCLED_CONNECTIONS: usize = 8 * 1024;

#[derive(Debug)]
enum ReaderMessage {
    Begin(InputStats, InputDates),
    Piece(Piece),
    Failed(String),
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few at a time, and boxing each batch takes longer"
)]
enum Parsing {
    Done(FeedItem),
    Running(JoinHandle<Batch>),
}

impl Feed {
    /// Starts to read, each input in this way. `dates`: what
    /// must be known of those of an input before it is read. `progress` counts the bytes.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        inputs: Vec<PathBuf>,
        how: How,
        jobs: usize,
        dates: Option<WantedDates>,
        progress: ProgressBar,
    ) -> io::Result<Self> {
        let (sender, messages) = mpsc::channel(READ_AHEAD);
        let (recycle, recycled) = std::sync::mpsc::channel();
        let wanted = how.wanted.clone();
        let reader = Reader {
            how,
            dates,
            progress,
            recycled,
            sender,
        };
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || reader.read_all(&inputs))?;
        Ok(Self {
            recycle,
            rooms: Vec::new(),
            messages,
            queue: VecDeque::new(),
            queue_len: if jobs > 1 { jobs + PARSE_AHEAD } else { 1 },
            jobs,
            wanted,
        })
    }

    /// The next item; None at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<FeedItem> {
        loop {
            tokio::select! {
                biased;
                // First, so that the other threads parse while the caller counts.
                message = self.messages.recv(), if self.queue.len() < self.queue_len => match message {
                    Some(message) => self.parse(message),
                    None if self.queue.is_empty() => return None,
                    None => return Some(pop(&mut self.queue).await),
                },
                item = pop(&mut self.queue), if !self.queue.is_empty() => return Some(item),
            }
        }
    }

    /// Takes a counted batch back for the next one. The memory of one thread that another one releases would be
    /// returned to the kernel each time.
    pub(crate) fn recycle(&mut self, batch: Batch) {
        if self.rooms.len() < self.queue_len {
            self.rooms.extend(batch.into_room(MAX_RECYCLED_CONNECTIONS));
        }
    }

    fn parse(&mut self, message: ReaderMessage) {
        let (wanted, recycle) = (self.wanted.clone(), self.recycle.clone());
        let room = self.rooms.pop().unwrap_or_default();
        let parse = move |piece| {
            let batch = parse_into(&piece, &wanted, room);
            if let Piece::Lines(_, buffer) | Piece::Headed(_, _, buffer) = piece
                && buffer.capacity() <= MAX_RECYCLED_LEN
            {
                // Fails if the reader has finished.
                let _ = recycle.send(buffer);
            }
            batch
        };
        self.queue.push_back(match message {
            ReaderMessage::Begin(input, dates) => Parsing::Done(FeedItem::Begin(input, dates)),
            ReaderMessage::Failed(why) => Parsing::Done(FeedItem::Failed(why)),
            // One large piece at a time, so that memory does not grow with the number of threads.
            ReaderMessage::Piece(piece) if self.jobs == 1 || is_large(&piece) => {
                Parsing::Done(FeedItem::Batch(parse(piece)))
            }
            ReaderMessage::Piece(piece) => Parsing::Running(spawn_blocking(move || parse(piece))),
        });
    }
}

fn is_large(piece: &Piece) -> bool {
    matches!(piece, Piece::Lines(_, lines) | Piece::Headed(_, _, lines) if lines.len() > MAX_RECYCLED_LEN)
}

/// Waits for the first item of the queue and removes it. Cancel safe.
async fn pop(queue: &mut VecDeque<Parsing>) -> FeedItem {
    if let Some(Parsing::Running(batch)) = queue.front_mut() {
        let batch = batch.await.expect("parsing does not panic");
        queue[0] = Parsing::Done(FeedItem::Batch(batch));
    }
    match queue.pop_front() {
        Some(Parsing::Done(item)) => item,
        _ => unreachable!("the queue is not empty, and its first item is done"),
    }
}

/// The state of the thread that reads.
struct Reader {
    how: How,
    dates: Option<WantedDates>,
    progress: ProgressBar,
    recycled: RecycledBuffers,
    sender: mpsc::Sender<ReaderMessage>,
}

impl Reader {
    /// Reads one input after the other, until the receiver is dropped.
    fn read_all(&self, inputs: &[PathBuf]) {
        for path in inputs {
            if let Err(Stopped) = self.read_one(path) {
                return;
            }
        }
    }

    fn read_one(&self, path: &Path) -> Result<(), Stopped> {
        let name = input::name(path);
        let opened = input::open(path).and_then(|input| {
            let mut input = self.progress.wrap_read(input);
            Ok((reader::magic(&mut input)?, input))
        });
        let head = opened.as_ref().ok().map(|(head, _)| head);
        let stats = InputStats {
            name: name.clone(),
            compression: head.and_then(|head| unpack::compression(head)),
            ..InputStats::default()
        };
        let dates = self.dates(path, name.clone());
        self.send(ReaderMessage::Begin(stats, dates))?;
        let result = opened.map_err(ReadError::Io).and_then(|(head, rest)| {
            let input = io::Cursor::new(head).chain(rest);
            reader::read(input, &self.how(path), &self.recycled, &mut |piece| {
                self.send(ReaderMessage::Piece(piece))
            })
        });
        let why = match result {
            Ok(()) => return Ok(()),
            Err(ReadError::Stopped) => return Err(Stopped),
            Err(ReadError::UnknownFormat(unknown)) => format!("{name}: {unknown}"),
            Err(ReadError::Io(error)) => input::explain(path, &error),
        };
        self.send(ReaderMessage::Failed(why))
    }

    /// How to read this input.
    fn how(&self, path: &Path) -> How {
        How {
            is_file: input::length(path).is_some(),
            ..self.how.clone()
        }
    }

    /// What is known of the dates of an input, if they matter.
    fn dates(&self, path: &Path, name: String) -> InputDates {
        let wanted = self.dates.as_ref();
        let changed = wanted.and_then(|_| input::changed(path));
        let (midnights, runs) = match (wanted, changed) {
            (Some(wanted), Some(changed)) if !input::is_stdin(path) => input::open(path)
                .map_or_else(
                    |_| Default::default(),
                    |file| scan(file, &self.how(path), changed, wanted),
                ),
            _ => Default::default(),
        };
        InputDates {
            name,
            changed,
            midnights,
            runs,
        }
    }

    fn send(&self, message: ReaderMessage) -> Result<(), Stopped> {
        self.sender.blocking_send(message).map_err(|_| Stopped)
    }
}
