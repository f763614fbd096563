//! The endpoints of both programs for load balancers and monitoring: `/livez`, `/readyz` and the metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poem::EndpointExt;
use poem::http::StatusCode;
use poem::{Response, Route, get, handler, web::Data};
use prometheus::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::coalesced::{Coalesced, Reader};
use crate::metrics;
use crate::store::{ErrorKind, SchemaState, Store, StoreError};

/// The media type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The time between two checks of the database; each answers everyone who has asked by then.
const CHECKS_APART: Duration = Duration::from_millis(200);

/// How long the database may be too busy for a check before that counts as a fault. A shorter time would take a process
/// out of service for a burst; a longer one would keep sending it work that it can only reject.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// Whether this process should be sent work.
#[derive(Clone)]
pub struct Readiness {
    stop: CancellationToken,
    database: Coalesced<Option<String>>,
    own: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Checks the database for everyone who asks whether the process is ready.
pub struct ReadinessReader(Reader<Option<String>>);

impl Readiness {
    /// Ready while `stop` is not cancelled, the database answers and accepts writes, and its schema is this program's.
    #[must_use]
    pub fn new(stop: CancellationToken) -> (Self, ReadinessReader) {
        let (database, reader) = Coalesced::new(CHECKS_APART);
        (Self { stop, database, own: Arc::new(|| None) }, ReadinessReader(reader))
    }

    /// Also asks `fault`, which returns a fault that the process itself knows of.
    #[must_use]
    pub fn and(self, fault: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { own: Arc::new(fault), ..self }
    }

    /// Why this process is not ready, if it is not.
    pub async fn fault(&self) -> Option<String> {
        let draining = || Some("draining: this process is shutting down".to_owned());
        if self.stop.is_cancelled() {
            return draining();
        }
        match self.database.read().await {
            Some(fault) => fault.or_else(|| (self.own)()),
            None => draining(),
        }
    }
}

impl ReadinessReader {
    /// Checks this database until the last [`Readiness`] is dropped.
    pub async fn run(self, store: Store) {
        let last =
            Mutex::new(LastCheck { fault: Some("the database has not been reached yet".to_owned()), busy_since: None });
        self.0.run(|| fault_of(&store, &last)).await;
    }
}

struct LastCheck {
    /// The result of the last check that the database answered.
    fault: Option<String>,
    /// Since when the database has been too busy for a check.
    busy_since: Option<Instant>,
}

impl LastCheck {
    fn answered(&mut self, fault: Option<String>) -> Option<String> {
        *self = Self { fault: fault.clone(), busy_since: None };
        fault
    }

    /// The result of the last check, until the database has been busy for [`BUSY_FOR`].
    fn busy(&mut self, now: Instant) -> Option<String> {
        if now - *self.busy_since.get_or_insert(now) < BUSY_FOR {
            return self.fault.clone();
        }
        Some("the database is too busy, or has no connection left for this process".to_owned())
    }
}

async fn fault_of(store: &Store, last: &Mutex<LastCheck>) -> Option<String> {
    let checked = async {
        match store.schema_state().await? {
            SchemaState::Current => Ok(store.write_obstacle().await?.map(str::to_owned)),
            state => Ok(Some(state.to_string())),
        }
    };
    let checked: Result<_, StoreError> = checked.await;
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    match checked {
        Ok(fault) => last.answered(fault),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the readiness check failed");
            match error.kind() {
                ErrorKind::Busy => last.busy(Instant::now()),
                _ => last.answered(Some("the database is away".to_owned())),
            }
        }
    }
}

/// The routes `/livez` and `/readyz`.
#[must_use]
pub fn ops_routes(readiness: Readiness) -> Route {
    Route::new().at("/livez", get(livez)).at("/readyz", get(readyz.data(readiness)))
}

#[handler]
fn livez() -> Response {
    plain(StatusCode::OK, "live\n")
}

#[handler]
async fn readyz(Data(readiness): Data<&Readiness>) -> Response {
    match readiness.fault().await {
        None => plain(StatusCode::OK, "ready\n"),
        Some(fault) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{fault}\n")),
    }
}

/// The metrics of a registry as a response.
#[must_use]
pub fn metrics_response(registry: &Registry) -> Response {
    match metrics::text(registry) {
        Ok(text) => Response::builder().content_type(PROMETHEUS_TEXT).body(text),
        Err(error) => {
            tracing::error!(%error, "could not write the metrics");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "could not write the metrics\n")
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    Response::builder().status(status).content_type("text/plain; charset=utf-8").body(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_is_a_fault_once_it_has_been_so_for_long_however_seldom_it_is_checked() {
        let start = Instant::now();
        let mut last = LastCheck { fault: Some("not reached".to_owned()), busy_since: None };
        assert_eq!(last.busy(start).as_deref(), Some("not reached"));

        assert_eq!(last.answered(None), None);
        assert_eq!(last.busy(start + Duration::from_mins(1)), None, "the first check that finds it busy");
        assert!(last.busy(start + Duration::from_mins(1) + BUSY_FOR).is_some());

        assert_eq!(last.answered(None), None);
        assert_eq!(last.busy(start + Duration::from_mins(2)), None);
    }
}
