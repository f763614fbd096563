//! A service that orders are pushed to, which answers as a test tells it to.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// With this status.
    Status(u16),
    /// It never answers.
    Hang,
    /// It closes the connection instead.
    HangUp,
}

/// A running service, until it is dropped.
pub(super) struct Service {
    url: String,
    told: Arc<Mutex<Told>>,
    server: AbortHandle,
}

#[derive(Debug)]
struct Told {
    manner: Manner,
    /// When each order came.
    calls: Vec<Instant>,
}

impl Service {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/orders", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Told { manner, calls: Vec::new() }));
        let server = tokio::spawn(serve(listener, Arc::clone(&told))).abort_handle();
        Self { url, told, server }
    }

    /// What a worker takes as `FULFILMENT_URL`.
    pub(super) fn url(&self) -> (&'static str, &str) {
        ("FULFILMENT_URL", &self.url)
    }

    /// Answers like this from now on.
    pub(super) fn answer(&self, manner: Manner) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).manner = manner;
    }

    /// When each order came so far.
    pub(super) fn calls(&self) -> Vec<Instant> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, told: Arc<Mutex<Told>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        let answer = service_fn(move |_: Request<Incoming>| {
            let manner = {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.calls.push(Instant::now());
                told.manner
            };
            answer(manner)
        });
        // A connection that its client or the service closes fails.
        tokio::spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await) });
    }
}

async fn answer(manner: Manner) -> io::Result<Response<String>> {
    match manner {
        Manner::Status(status) => Ok(Response::builder().status(status).body(String::new()).unwrap()),
        Manner::Hang => pending().await,
        Manner::HangUp => Err(io::ErrorKind::ConnectionReset.into()),
    }
}
