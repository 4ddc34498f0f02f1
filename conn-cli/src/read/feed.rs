//! From the inputs to parsed batches, in the order of the records: one thread reads, others
//! parse.

use std::{
    collections::VecDeque,
    io,
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
    Format,
    batch::{Batch, Piece},
    cut::Used,
    input,
    parse::{Wanted, parse},
    reader::{self, ReadError, Stopped},
};

/// What comes out, in this order.
#[derive(Debug)]
pub enum Fed {
    /// What follows is of this input.
    Begin(String),
    /// Parsed records.
    Batch(Batch),
    /// The input was not read, or not to its end, for this reason.
    Failed(String),
}

/// Pieces that one thread reads, and others parse.
#[derive(Debug)]
pub struct Feed {
    read: mpsc::Receiver<Read>,
    /// What is on its way, in order.
    queue: VecDeque<Parsing>,
    jobs: usize,
    wanted: Wanted,
    /// Where buffers go that are no longer needed.
    used: Sender<Vec<u8>>,
}

/// How many pieces are read before anybody parses them.
const READ_AHEAD: usize = 2;

/// A larger buffer than this is not kept for the next piece.
const MAX_KEPT: usize = 1024 * 1024;

#[derive(Debug)]
enum Read {
    Begin(String),
    Piece(Piece),
    Failed(String),
}

#[derive(Debug)]
enum Parsing {
    Done(Fed),
    Running(JoinHandle<Batch>),
}

impl Feed {
    /// Begins to read. `format`: what all inputs are, instead of telling it. `progress`: what
    /// counts the bytes.
    ///
    /// # Errors
    /// The system's, if there can be no thread.
    pub fn start(
        inputs: Vec<PathBuf>,
        format: Option<Format>,
        jobs: usize,
        wanted: Wanted,
        progress: ProgressBar,
    ) -> io::Result<Self> {
        let (sender, read) = mpsc::channel(READ_AHEAD);
        let (used, used_by_reader) = std::sync::mpsc::channel();
        let reader = Reader {
            format,
            progress,
            used: used_by_reader,
            sender,
        };
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || reader.read_all(&inputs))?;
        Ok(Self {
            used,
            read,
            queue: VecDeque::new(),
            jobs,
            wanted,
        })
    }

    /// The next of what comes; None at the end. May be dropped at any time and called again.
    pub async fn next(&mut self) -> Option<Fed> {
        loop {
            tokio::select! {
                biased;
                fed = first(&mut self.queue), if !self.queue.is_empty() => return Some(fed),
                read = self.read.recv(), if self.queue.len() < self.jobs => match read {
                    Some(read) => self.parse(read),
                    None if self.queue.is_empty() => return None,
                    None => return Some(first(&mut self.queue).await),
                },
            }
        }
    }

    fn parse(&mut self, read: Read) {
        let (wanted, used) = (self.wanted, self.used.clone());
        let parse = move |piece| {
            let batch = parse(&piece, wanted);
            if let Piece::Lines(_, buffer) = piece
                && buffer.capacity() <= MAX_KEPT
            {
                // The reader may be done.
                let _ = used.send(buffer);
            }
            batch
        };
        self.queue.push_back(match read {
            Read::Begin(name) => Parsing::Done(Fed::Begin(name)),
            Read::Failed(why) => Parsing::Done(Fed::Failed(why)),
            // One large piece at a time, since memory is not to grow with the number of threads.
            Read::Piece(piece) if self.jobs == 1 || is_large(&piece) => {
                Parsing::Done(Fed::Batch(parse(piece)))
            }
            Read::Piece(piece) => Parsing::Running(spawn_blocking(move || parse(piece))),
        });
    }
}

fn is_large(piece: &Piece) -> bool {
    matches!(piece, Piece::Lines(_, lines) if lines.len() > MAX_KEPT)
}

/// Waits for the first of the queue and takes it out.
async fn first(queue: &mut VecDeque<Parsing>) -> Fed {
    if let Some(Parsing::Running(batch)) = queue.front_mut() {
        let batch = batch.await.expect("parsing does not panic");
        queue[0] = Parsing::Done(Fed::Batch(batch));
    }
    match queue.pop_front() {
        Some(Parsing::Done(fed)) => fed,
        _ => unreachable!("the queue is not empty, and its first is done"),
    }
}

/// What the thread has that reads.
struct Reader {
    format: Option<Format>,
    progress: ProgressBar,
    used: Used,
    sender: mpsc::Sender<Read>,
}

impl Reader {
    /// Reads one input after the other, until nobody wants more.
    fn read_all(&self, inputs: &[PathBuf]) {
        for path in inputs {
            if let Err(Stopped) = self.read_one(path) {
                return;
            }
        }
    }

    fn read_one(&self, path: &Path) -> Result<(), Stopped> {
        let name = input::name(path);
        self.send(Read::Begin(name.clone()))?;
        let read = input::open(path).map_err(ReadError::Io).and_then(|input| {
            let input = self.progress.wrap_read(input);
            reader::read(input, self.format, &self.used, &mut |piece| {
                self.send(Read::Piece(piece))
            })
        });
        let failed = match read {
            Ok(()) => return Ok(()),
            Err(ReadError::Stopped) => return Err(Stopped),
            Err(ReadError::UnknownFormat) => {
                format!("cannot tell what {name} is: say it with --format")
            }
            Err(ReadError::Io(error)) => input::explain(path, &error),
        };
        self.send(Read::Failed(failed))
    }

    fn send(&self, read: Read) -> Result<(), Stopped> {
        self.sender.blocking_send(read).map_err(|_| Stopped)
    }
}
