//! From the inputs to parsed batches, in the order of the records: one thread reads, others
//! parse.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
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
    input,
    parse::{Wanted, parse},
    reader::{self, Stopped, Trouble},
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
}

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
        let (sender, read) = mpsc::channel(jobs + 1);
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || read_all(&inputs, format, &progress, &sender))?;
        Ok(Self {
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
        let wanted = self.wanted;
        self.queue.push_back(match read {
            Read::Begin(name) => Parsing::Done(Fed::Begin(name)),
            Read::Failed(why) => Parsing::Done(Fed::Failed(why)),
            Read::Piece(piece) if self.jobs == 1 => Parsing::Done(Fed::Batch(parse(piece, wanted))),
            Read::Piece(piece) => Parsing::Running(spawn_blocking(move || parse(piece, wanted))),
        });
    }
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

/// Reads one input after the other, until nobody wants more.
fn read_all(
    inputs: &[PathBuf],
    format: Option<Format>,
    progress: &ProgressBar,
    sender: &mpsc::Sender<Read>,
) {
    let mut send = |read| sender.blocking_send(read).map_err(|_| Stopped);
    for path in inputs {
        match read_one(path, format, progress, &mut send) {
            Ok(()) => (),
            Err(Stopped) => return,
        }
    }
}

fn read_one(
    path: &Path,
    format: Option<Format>,
    progress: &ProgressBar,
    send: &mut impl FnMut(Read) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let name = input::name(path);
    send(Read::Begin(name.clone()))?;
    let read = input::open(path).map_err(Trouble::Io).and_then(|input| {
        let input = progress.wrap_read(input);
        reader::read(input, format, &mut |piece| send(Read::Piece(piece)))
    });
    let failed = match read {
        Ok(()) => return Ok(()),
        Err(Trouble::Stopped) => return Err(Stopped),
        Err(Trouble::UnknownFormat) => {
            format!("cannot tell what {name} is: say it with --format")
        }
        Err(Trouble::Io(error)) => input::explain(path, &error),
    };
    send(Read::Failed(failed))
}
