//! Sends a request to the service and reads its answer.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::http::Extensions;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use orders_shared::domain::{ErrorClass, NotDone, WorkError, with_causes};
use rustls::ClientConfig;

use super::answer::Answer;
use super::connector::{ConnectError, Connector, WasUsed};

/// How long an idle connection is kept: less than the five seconds after which the most impatient of the common servers
/// close theirs, in which case a request that is under way then is lost.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// The longest head of an answer. Each slot may hold one, and no honest service sends half as much.
const HEAD_BYTES_MAX: usize = 32 << 10;

type Inner = legacy::Client<Connector, Full<Bytes>>;

/// Connections to the service.
#[derive(Clone)]
pub(super) struct Client {
    uri: Uri,
    timeout: Duration,
    pooled: Inner,
    /// Makes a connection for each request.
    fresh: Inner,
}

impl Client {
    /// Sends to this URI. An answer takes `timeout` at most, with everything that comes before it.
    pub(super) fn new(uri: Uri, timeout: Duration, tls: ClientConfig) -> Self {
        let connector = Connector::new(tls, timeout);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.http1_max_buf_size(HEAD_BYTES_MAX);
        // Without a timer, idle connections never expire.
        let pooled = builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Self { uri, timeout, pooled, fresh }
    }

    /// Sends a POST request. It is sent a second time if a connection that was used before turns out to be closed: a
    /// server may close one that is idle at any moment, which says nothing about the order.
    pub(super) async fn send(&self, headers: &HeaderMap, body: &Bytes) -> Result<Answer, NotDone> {
        let exchange = async {
            match self.exchange(&self.pooled, headers, body).await {
                Err(failed) if failed.was_idle => self.exchange(&self.fresh, headers, body).await,
                ended => ended,
            }
        };
        let Ok(ended) = tokio::time::timeout(self.timeout, exchange).await else {
            let message = format!("no answer within {} ms", self.timeout.as_millis());
            return Err(NotDone::retry(WorkError::new(ErrorClass::TIMEOUT, message)));
        };
        ended.map_err(|failed| NotDone::unavailable(failed.error))
    }

    async fn exchange(&self, client: &Inner, headers: &HeaderMap, body: &Bytes) -> Result<Answer, Failed> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers.clone();
        let response = client.request(request).await?;
        if let Some(was_used) = response.extensions().get::<WasUsed>() {
            was_used.set();
        }
        read(response).await.map_err(|error| Failed { error: broken(&error), was_idle: false })
    }
}

/// Reads as much of an answer as is looked at. If there is more, dropping it closes the connection.
async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    while body.len() <= Answer::BODY_BYTES_MAX {
        match incoming.frame().await {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
                let room = Answer::BODY_BYTES_MAX + 1 - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(data));
            }
            // A success may say otherwise in its body; any other status says enough.
            Some(Err(error)) if head.status.is_success() => return Err(error),
            Some(Err(_)) | None => break,
        }
    }
    let is_cut = body.len() > Answer::BODY_BYTES_MAX;
    body.truncate(Answer::BODY_BYTES_MAX);
    Ok(Answer { status: head.status, headers: head.headers, body: body.freeze(), is_cut })
}

/// A request without an answer.
struct Failed {
    error: WorkError,
    /// Whether the connection had been idle, and broke.
    was_idle: bool,
}

impl From<legacy::Error> for Failed {
    fn from(error: legacy::Error) -> Self {
        let mut marks = Extensions::new();
        if let Some(connection) = error.connect_info() {
            connection.get_extras(&mut marks);
        }
        let was_used = marks.get::<WasUsed>().is_some_and(WasUsed::get);
        let Some(cause) = error.source() else { return Self { error: broken(&error), was_idle: was_used } };
        if let Some(error) = cause.downcast_ref::<ConnectError>() {
            return Self { error: WorkError::new(error.class(), with_causes(error)), was_idle: false };
        }
        if cause.downcast_ref().is_some_and(hyper::Error::is_parse) {
            let message = format!("the service answered with something that is not HTTP: {}", with_causes(cause));
            return Self { error: WorkError::new(ErrorClass::BAD_ANSWER, message), was_idle: false };
        }
        Self { error: broken(cause), was_idle: was_used }
    }
}

fn broken(cause: &(dyn Error + 'static)) -> WorkError {
    WorkError::new(ErrorClass::CONNECT, format!("the connection broke: {}", with_causes(cause)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::processors::http::tls;

    /// Its system accepts the connection, and nobody speaks TLS over it.
    #[tokio::test]
    async fn a_host_that_lets_a_connection_hang_is_unavailable_however_short_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let client = Client::new(uri, Duration::from_millis(400), tls(None).unwrap());

        let failed = client.send(&HeaderMap::new(), &Bytes::new()).await.unwrap_err();

        let error = WorkError::new(ErrorClass::CONNECT, "no connection within 200 ms");
        assert_eq!(failed, NotDone::unavailable(error));
    }
}
