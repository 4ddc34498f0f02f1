//! Serves metrics by HTTP, within bounds of time and memory whatever its clients do.

use std::{
    cell::{OnceCell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    io, net,
    os::unix,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    rt::ReadBufCursor,
    server::conn::http1,
    service::service_fn,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    runtime::Runtime,
    sync::{Mutex, mpsc, oneshot},
    task::{AbortHandle, LocalSet, spawn_local, yield_now},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::Answer;
use crate::output::metrics::{Format, accepted, render};

/// How many connections there are at once, and how many of them have been answered and have not yet read the
/// answer, which may be several megabytes. The oldest makes room for a new one.
const MAX_CONNECTIONS: usize = 64;
const MAX_ANSWERS: usize = 4;

/// How long one may last: as long as Prometheus waits for an answer.
const MAX_DURATION: Duration = Duration::from_secs(10);

/// The bytes of a request at most.
const MAX_REQUEST: usize = 16 * 1024;

/// How often the run is asked for its figures at most: it has other work.
const MIN_INTERVAL: Duration = Duration::from_millis(5);

/// How long to wait if no connection can be accepted, as when too many files are open.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where to accept connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

/// Serves until `stopped`.
pub(super) fn run(
    runtime: &Runtime,
    listener: Listener,
    requests: mpsc::Sender<Answer>,
    stopped: oneshot::Receiver<()>,
) {
    LocalSet::new().block_on(runtime, async move {
        tokio::select! {
            _ = stopped => (),
            () = serve(listener, requests) => (),
        }
    });
}

async fn serve(listener: Listener, requests: mpsc::Sender<Answer>) {
    let figures = Rc::new(Figures {
        requests,
        next: Mutex::new(Instant::now()),
        answers: RefCell::new(Room::new(MAX_ANSWERS)),
    });
    let mut connections = Room::new(MAX_CONNECTIONS);
    let Ok(mut listener) = Accept::new(listener) else {
        return;
    };
    loop {
        let Ok(stream) = listener.accept().await else {
            sleep(AFTER_ERROR).await;
            continue;
        };
        let figures = Rc::clone(&figures);
        let own = Rc::new(OnceCell::new());
        let task = spawn_local(exchange(stream, figures, Rc::clone(&own)));
        // The task has not run yet.
        let _ = own.set(task.abort_handle());
        connections.enter(task.abort_handle());
        // Those that were closed end before others have to make room.
        yield_now().await;
    }
}

/// Connections, of which there is a limited number.
struct Room {
    tasks: VecDeque<AbortHandle>,
    limit: usize,
}

impl Room {
    fn new(limit: usize) -> Self {
        Self {
            tasks: VecDeque::new(),
            limit,
        }
    }

    /// Adds one; if there are too many, the oldest is closed.
    fn enter(&mut self, task: AbortHandle) {
        self.tasks.retain(|task| !task.is_finished());
        while self.tasks.len() >= self.limit {
            if let Some(oldest) = self.tasks.pop_front() {
                oldest.abort();
            }
        }
        self.tasks.push_back(task);
    }
}

/// Answers one request on this connection.
async fn exchange(stream: Box<dyn Stream>, figures: Rc<Figures>, own: Rc<OnceCell<AbortHandle>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (figures, own) = (Rc::clone(&figures), Rc::clone(&own));
        async move { Ok::<_, Infallible>(respond(&request, &figures, own.get()).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(Io(stream), service);
    // Nobody is told of errors: they are the client's.
    let _ = timeout(MAX_DURATION, connection).await;
}

async fn respond(
    request: &Request<Incoming>,
    figures: &Figures,
    own: Option<&AbortHandle>,
) -> Response<Whole> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    match request.uri().path() {
        "/" | "/metrics" if !is_read => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
        "/" => text(StatusCode::OK, "conn-cli: its metrics are at /metrics\n"),
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT).into_iter();
            let format = accepted(accept.filter_map(|value| value.to_str().ok()));
            match figures.rendered(format, own).await {
                Some(body) => response(StatusCode::OK, format.content_type(), body),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "the run has ended\n"),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Whole> {
    response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Whole> {
    let mut response = Response::new(Whole(Some(body)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The figures of the run.
struct Figures {
    requests: mpsc::Sender<Answer>,
    /// When the run may be asked next. Whoever holds this has asked: there is one answer in memory that is not
    /// rendered yet.
    next: Mutex<Instant>,
    /// The connections that have an answer.
    answers: RefCell<Room>,
}

impl Figures {
    /// The figures as they are now; None if the run has ended.
    async fn rendered(&self, format: Format, own: Option<&AbortHandle>) -> Option<Bytes> {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).await.ok()?;
        let reading = answered.await.ok()?;
        *next = Instant::now() + MIN_INTERVAL;
        if let Some(own) = own {
            self.answers.borrow_mut().enter(own.clone());
        }
        Some(render(reading, format).ok()?.into())
    }
}

/// A body that is there as a whole.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |body| body.len() as u64))
    }
}

/// A connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

enum Accept {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accept {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// A stream of tokio's, as hyper takes one.
struct Io(Box<dyn Stream>);

/// How much is read at once.
const CHUNK: usize = 4096;

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; CHUNK];
        let length = buffer.remaining().min(CHUNK);
        let mut read = ReadBuf::new(&mut bytes[..length]);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
