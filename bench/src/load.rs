//! Load on the API: as much as it can take, or requests on a fixed schedule.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http::{Connection, head};

/// Connections of a closed loop, as the targets are defined.
pub(crate) const CONNECTIONS: u32 = 256;

/// Connections of an open loop, in turn: each is free again long before its next request is due, unless an answer takes
/// longer than 64 ms at a thousand a second. What is sent late by that counts as waiting too.
const OPEN_CONNECTIONS: u32 = 64;

/// The API answers within 40 seconds or never.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// Answers to wait for however long they take: a median needs three.
const ASKED_MIN: u64 = 3;

/// Microseconds, to three digits.
const DIGITS: u8 = 3;

/// The result of a closed loop.
pub(crate) struct Load {
    pub(crate) answered: u64,
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        crate::figures::quotient(self.answered, self.elapsed.as_secs_f64())
    }
}

/// Has [`CONNECTIONS`] clients send `request` again and again, each as soon as it has its answer, and waits for the
/// last. A request takes a permit and does not give it back.
///
/// # Errors
/// If the status of an answer is not `expected`.
pub(crate) async fn closed(
    address: SocketAddr,
    request: Vec<u8>,
    expected: u16,
    during: Duration,
    permits: Arc<Semaphore>,
) -> Result<Load> {
    let request: Arc<[u8]> = request.into();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let (request, permits) = (Arc::clone(&request), Arc::clone(&permits));
        clients.spawn(async move {
            let mut answered = 0_u64;
            while started.elapsed() < during
                && let Ok(permit) = permits.acquire().await
            {
                permit.forget();
                check(connection.ask(&request).await?, expected)?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(client) =
        timeout(during + ANSWER_LIMIT, clients.join_next()).await.context("a request has no answer")?
    {
        answered += client??;
    }
    Ok(Load { answered, elapsed: started.elapsed() })
}

/// More permits than any load uses up.
pub(crate) fn no_limit() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))
}

/// The results of requests that were sent on a schedule.
pub(crate) struct Arrivals {
    /// Microseconds from the moment that each was due until its answer, or its failure.
    pub(crate) latencies: Histogram<u64>,
    /// Why requests were not answered with 201.
    pub(crate) failures: Vec<String>,
}

/// As [`arrivals`], but every answer must be 201.
///
/// # Errors
/// If an answer is not 201.
pub(crate) fn open(address: SocketAddr, request: &[u8], per_second: u32, during: Duration) -> Result<Histogram<u64>> {
    let Arrivals { latencies, failures } = arrivals(address, request, per_second, during)?;
    if let Some(first) = failures.first() {
        bail!("{} requests failed, the first as {first}", failures.len());
    }
    Ok(latencies)
}

/// Sends `request` `per_second` times a second, however slow the answers are, and measures from the moment that each
/// was due, so that the wait behind a slow answer counts too.
///
/// Blocks: a sleeping thread is more exact than the runtime's timer, whose unit is a millisecond.
pub(crate) fn arrivals(address: SocketAddr, request: &[u8], per_second: u32, during: Duration) -> Result<Arrivals> {
    let total = u32::try_from(during.as_secs())?.saturating_mul(per_second);
    let interval = Duration::from_secs(1) / per_second;
    let started = Instant::now() + Duration::from_millis(200);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..OPEN_CONNECTIONS)
            .map(|first| {
                scope.spawn(move || -> Result<Arrivals> {
                    let mut all = Arrivals { latencies: Histogram::new(DIGITS)?, failures: Vec::new() };
                    let mut stream = Some(connect(address)?);
                    for turn in (first..total).step_by(OPEN_CONNECTIONS as usize) {
                        let due = started + interval * turn;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        if let Err(error) = exchange(address, &mut stream, request) {
                            all.failures.push(format!("after {:?}: {error:#}", due - started));
                        }
                        all.latencies.record(micros(due.elapsed()))?;
                    }
                    Ok(all)
                })
            })
            .collect();
        let mut all = Arrivals { latencies: Histogram::new(DIGITS)?, failures: Vec::new() };
        for client in clients {
            let arrivals = client.join().ok().context("a client panicked")??;
            all.latencies.add(arrivals.latencies)?;
            all.failures.extend(arrivals.failures);
        }
        Ok(all)
    })
}

/// Microseconds that each of the requests takes, sent in turn, one after the other, for about that long; `None` if an
/// answer is not 200.
pub(crate) async fn one_by_one(
    connection: &mut Connection,
    requests: &[Vec<u8>],
    during: Duration,
) -> Result<Option<Histogram<u64>>> {
    let mut latencies = Histogram::new(DIGITS)?;
    let started = Instant::now();
    for request in requests.iter().cycle() {
        if started.elapsed() >= during && latencies.len() >= ASKED_MIN {
            break;
        }
        let sent = Instant::now();
        if connection.ask(request).await? != 200 {
            return Ok(None);
        }
        latencies.record(micros(sent.elapsed()))?;
    }
    Ok(Some(latencies))
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

/// Sends a request over the connection, or a new one if there is none, and keeps the connection if all went well.
fn exchange(address: SocketAddr, kept: &mut Option<TcpStream>, request: &[u8]) -> Result<()> {
    let mut stream = kept.take().map_or_else(|| connect(address), Ok)?;
    stream.write_all(request)?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            bail!("the connection was closed before the answer was complete");
        }
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(head) = head(&answer)?
            && answer.len() >= head.length
        {
            check(head.status, 201)?;
            *kept = Some(stream);
            return Ok(());
        }
    }
}

fn check(status: u16, expected: u16) -> Result<()> {
    if status != expected {
        bail!("a request was answered with {status}");
    }
    Ok(())
}
