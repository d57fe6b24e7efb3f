use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::Exchange;

/// First on each connection; the digit is the version of what follows.
const HELLO: &[u8; 24] = b"quadrivium exchange v1  ";

/// Between two attempts to reach a process that does not listen yet.
const PAUSE: Duration = Duration::from_millis(50);

/// How long whoever has connected may take to say which process it is, which it does at once.
const GREETING: Duration = Duration::from_secs(5);

/// What the buffers of a connection surely hold: more than this is sent and received at the same time.
const BUFFERED: usize = 16 * 1024;

/// Processes that reach each other by TCP, each connected with each.
///
/// What they send is neither encrypted nor signed: for a network that is trusted. A link that is down for less than the
/// patience delays a step and changes nothing, because TCP sends again what was lost.
///
/// ```
/// use std::{sync::Arc, thread, time::Duration};
/// use quadrivium::{engine::TcpExchange, prelude::*, seeded, worlds::Toy};
/// # use std::net::TcpListener;
///
/// # let free = || TcpListener::bind("127.0.0.1:0").and_then(|at| at.local_addr()).map(|at| at.to_string());
/// # let [a, b] = [free().unwrap(), free().unwrap()];
/// // Two threads in the place of two machines.
/// let addresses = [a, b];
/// let train = |rank: usize| -> Vec<u8> {
///     let exchange = TcpExchange::connect(rank, &addresses, Duration::from_secs(10)).unwrap();
///     let mut rng = seeded(0);
///     let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut rng)).unwrap();
///     let mut flow = Flow::new(FlowConfig::default(), &mut rng).unwrap();
///     let options = TrainOptions { steps: 5, exchange: Arc::new(exchange), ..Default::default() };
///     flow.train(&data, &options, &mut rng, &mut NoObserver).unwrap();
///     format!("{:?}", flow.draw(3, &mut rng).unwrap()).into_bytes()
/// };
/// let [first, second] = thread::scope(|scope| [0, 1].map(|rank| scope.spawn(move || train(rank))).map(|t| t.join().unwrap()));
/// assert_eq!(first, second);
/// ```
#[derive(Debug)]
pub struct TcpExchange {
    rank: usize,
    /// To each process, but for this one.
    streams: Vec<Option<Mutex<TcpStream>>>,
}

fn failed(what: String) -> io::Error {
    io::Error::other(what)
}

impl TcpExchange {
    /// Process `rank` of as many as there are addresses, "host:port": it listens at its own, connects to those before it,
    /// and waits for those behind it. No wait for another process, now or during the training, is longer than `patience`.
    ///
    /// # Errors
    /// If it cannot listen, or another process does not answer in time, or is not one of these.
    pub fn connect(rank: usize, addresses: &[String], patience: Duration) -> io::Result<Self> {
        let own = addresses.get(rank).ok_or_else(|| {
            failed(format!("process {rank}: expected one of {}, counted from 0", addresses.len()))
        })?;
        let end = Instant::now() + patience;
        let listener = TcpListener::bind(own).map_err(|error| failed(format!("{own}: {error}")))?;
        listener.set_nonblocking(true)?;
        let mut streams: Vec<Option<Mutex<TcpStream>>> = addresses.iter().map(|_| None).collect();
        for (other, address) in addresses[..rank].iter().enumerate() {
            let stream = reach(address, end).map_err(|error| failed(format!("{address}: {error}")))?;
            let found = greet(&stream, rank, addresses.len(), patience)?;
            if found != other {
                return Err(failed(format!("{address}: it is process {found}: expected {other}")));
            }
            streams[other] = Some(Mutex::new(stream));
        }
        while let Some(missing) = (rank + 1..addresses.len()).find(|&other| streams[other].is_none()) {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    // Whoever does not speak as these processes do is none of them.
                    let Ok(other) = greet(&stream, rank, addresses.len(), patience.min(GREETING)) else {
                        continue;
                    };
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    if other <= rank || streams[other].is_some() {
                        return Err(failed(format!("two processes are process {other}")));
                    }
                    streams[other] = Some(Mutex::new(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(PAUSE)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(failed(format!("process {missing} did not come within {patience:?}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(TcpExchange { rank, streams })
    }
}

/// Connects to a process that may not listen yet.
fn reach(address: &str, end: Instant) -> io::Result<TcpStream> {
    loop {
        let attempt = address.to_socket_addrs().and_then(|mut found| {
            let found = found.next().ok_or_else(|| failed("no such address".into()))?;
            let left = end.saturating_duration_since(Instant::now()).max(PAUSE);
            TcpStream::connect_timeout(&found, left)
        });
        match attempt {
            Err(_) if Instant::now() < end => thread::sleep(PAUSE),
            ended => return ended,
        }
    }
}

/// Tells the process at the other end which one this is, and returns which one that is.
fn greet(mut stream: &TcpStream, rank: usize, ranks: usize, patience: Duration) -> io::Result<usize> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(HELLO)?;
    [rank, ranks].iter().try_for_each(|&n| stream.write_all(&(n as u64).to_le_bytes()))?;
    let mut hello = [0; HELLO.len()];
    stream.read_exact(&mut hello)?;
    let [other, others] = [count(stream)?, count(stream)?];
    if hello != *HELLO || others != ranks || other >= ranks || other == rank {
        let said = String::from_utf8_lossy(&hello).into_owned();
        return Err(failed(format!(
            "it says {said:?} and is process {other} of {others}: expected another one of {ranks}"
        )));
    }
    Ok(other)
}

fn count(mut stream: &TcpStream) -> io::Result<usize> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) as usize)
}

fn send(mut stream: &TcpStream, letter: &[u8]) -> io::Result<()> {
    stream.write_all(&(letter.len() as u64).to_le_bytes())?;
    stream.write_all(letter)
}

fn receive(stream: &TcpStream, letter: &mut Vec<u8>) -> io::Result<()> {
    let len = count(stream)?;
    letter.clear();
    // Memory is taken for what comes, not for what is announced.
    let read = stream.take(len as u64).read_to_end(letter)?;
    if read < len { Err(failed(format!("{read} bytes of {len}: it has ended"))) } else { Ok(()) }
}

impl Exchange for TcpExchange {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.streams.len()
    }

    /// In rounds, in each of which every process speaks with one other at most: in round k, those whose numbers add up to
    /// k modulo R.
    fn swap(&self, to: &[Vec<u8>], from: &mut [Vec<u8>]) -> io::Result<()> {
        let ranks = self.ranks();
        for round in 0..ranks {
            let other = (round + ranks - self.rank) % ranks;
            let Some(stream) = &self.streams[other] else {
                from[other].clone_from(&to[other]);
                continue;
            };
            let stream = &*stream.lock().map_err(|_| failed("a swap before this one failed".into()))?;
            let (letter, answer) = (&to[other], &mut from[other]);
            let swapped = match letter.len() <= BUFFERED {
                true => send(stream, letter).and_then(|()| receive(stream, answer)),
                false => thread::scope(|scope| {
                    let sent = scope.spawn(|| send(stream, letter));
                    let received = receive(stream, answer);
                    sent.join().map_err(|_| failed("the sending thread".into()))?.and(received)
                }),
            };
            swapped.map_err(|error| failed(format!("process {other}: {}", in_words(error))))?;
        }
        Ok(())
    }
}

fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => failed("no answer within the patience".into()),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            failed("it has ended".into())
        }
        _ => error,
    }
}
