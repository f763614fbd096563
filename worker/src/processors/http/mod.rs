//! Pushes orders to the service of a user: the way in for work that is not written in Rust.
//!
//! Each attempt is one POST request, signed as Standard Webhooks says, and its answer is the outcome (`answer.rs`). A
//! service may get an order more than once, after a crash or a lost answer; `webhook-id` and `Idempotency-Key` are the
//! order's id in every attempt, so that it can tell.

mod address;
mod answer;
mod client;
mod connector;
mod deliver;
mod headers;
mod instead;
mod metrics;
mod request;
mod settings;
mod signature;
mod watched;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use hyper::StatusCode;
use orders_shared::domain::{NotDone, Order, Outcome, ProcessorKind};
use prometheus::Registry;

use self::answer::Answer;
use self::client::Client;
pub use self::deliver::{Delivery, deliver, print_curl};
pub(crate) use self::headers::extra_headers;
use self::metrics::FulfilmentMetrics;
use self::request::Message;
pub(crate) use self::request::Requests;
pub use self::settings::FulfilmentSettings;
pub(crate) use self::settings::{service_uri, tls};
pub(crate) use self::signature::Secrets;
pub(crate) use self::watched::Watched;
use super::processor::{Attempt, Processor, Work};
use crate::gate::Gate;

/// Pushes orders to a service.
struct Push {
    service: Service,
    gate: Arc<Gate>,
    metrics: FulfilmentMetrics,
}

/// The service, and how it is called.
struct Service {
    client: Client,
    requests: Requests,
    /// The status by which it says that it has an order already.
    duplicate_status: Option<StatusCode>,
}

impl Work {
    /// Work that is pushed to a service. Adds its metrics to `registry`.
    pub fn pushed(settings: FulfilmentSettings, registry: &Registry) -> prometheus::Result<Self> {
        settings.log();
        let gate = Arc::new(Gate::new(settings.gate));
        let metrics = FulfilmentMetrics::register(registry)?;
        let push = Push { service: Service::new(settings), gate: Arc::clone(&gate), metrics };
        Ok(Self { processor: Arc::new(push), kind: ProcessorKind::Http, gate: Some(gate) })
    }
}

#[async_trait]
impl Processor for Push {
    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        let sent_at = Instant::now();
        let outcome = self.service.push(attempt.order, attempt.number).await;
        self.metrics.pushed(sent_at.elapsed(), &outcome);
        self.gate.judge(sent_at, outcome)
    }
}

impl Service {
    fn new(settings: FulfilmentSettings) -> Self {
        let client = Client::new(settings.uri, settings.timeout, settings.tls);
        Self { client, requests: settings.requests, duplicate_status: settings.duplicate_status }
    }

    /// Sends a message.
    async fn send(&self, message: &Message) -> Result<Answer, NotDone> {
        let headers = self.requests.headers(message, SystemTime::now());
        self.client.send(&headers, &message.body).await
    }

    async fn push(&self, order: &Order, attempt: u16) -> Outcome {
        let message = Message::order_placed(order, attempt)?;
        let answer = self.send(&message).await?;
        let outcome = answer.outcome(self.duplicate_status, SystemTime::now());
        if outcome.is_ok() && answer.loses_its_result() {
            let most = Answer::BODY_BYTES_MAX;
            tracing::warn!(order_id = %order.order_id, "the answer is larger than {most} bytes and not kept as a result");
        }
        outcome
    }
}
