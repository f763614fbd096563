//! The requests by which orders are pushed.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use orders_shared::domain::Order;
use serde::Serialize;

use super::signature::Secrets;
use super::watched::Watched;

/// Builds requests.
pub(crate) struct Requests {
    /// What they are signed with, if they are.
    pub(crate) secrets: Option<Watched<Secrets>>,
    /// Headers that the operator adds.
    pub(crate) headers: Option<Watched<HeaderMap>>,
}

/// What a request says.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Names the message in all its attempts.
    pub(super) id: String,
    pub(super) body: Bytes,
    about_order: Vec<(HeaderName, String)>,
}

/// The body of a message (Standard Webhooks, "payload structure").
#[derive(Serialize)]
struct Payload<'a, T> {
    r#type: &'a str,
    timestamp: DateTime<Utc>,
    data: &'a T,
}

const ORDERS_ATTEMPT: HeaderName = HeaderName::from_static("orders-attempt");
const ORDERS_PLACED_AT: HeaderName = HeaderName::from_static("orders-placed-at");

impl Message {
    /// An attempt at an order. Every attempt has the same body.
    pub(crate) fn order_placed(order: &Order, attempt: u16) -> serde_json::Result<Self> {
        let placed_at = order.created_at;
        let about_order = vec![
            (ORDERS_ATTEMPT, attempt.to_string()),
            (ORDERS_PLACED_AT, placed_at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        ];
        Ok(Self { about_order, ..Self::new("order.placed", order.order_id.to_string(), placed_at, order)? })
    }

    /// A message about nothing, to see whether the service can be reached and verifies signatures.
    pub(crate) fn test(id: String, at: DateTime<Utc>) -> serde_json::Result<Self> {
        Self::new("order.test", id, at, &serde_json::json!({}))
    }

    fn new(r#type: &str, id: String, timestamp: DateTime<Utc>, data: &impl Serialize) -> serde_json::Result<Self> {
        let body = serde_json::to_vec(&Payload { r#type, timestamp, data })?.into();
        Ok(Self { id, body, about_order: Vec::new() })
    }
}

impl Requests {
    /// The headers of a request that is sent now.
    pub(crate) fn headers(&self, message: &Message, now: SystemTime) -> HeaderMap {
        let mut headers = match &self.headers {
            Some(extra) => HeaderMap::clone(&*extra.get()),
            None => HeaderMap::new(),
        };
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A compressed answer could be far larger than what is read of it.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("orders-worker/", env!("CARGO_PKG_VERSION"))));
        headers.insert("webhook-timestamp", timestamp.into());
        let mut insert = |name: HeaderName, value: &str| {
            // Ids, times, numbers and base64 fit into any header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        insert(HeaderName::from_static("webhook-id"), &message.id);
        insert(HeaderName::from_static("idempotency-key"), &message.id);
        for (name, value) in &message.about_order {
            insert(name.clone(), value);
        }
        if let Some(secrets) = &self.secrets {
            let signature = secrets.get().sign(&message.id, timestamp, &message.body);
            insert(HeaderName::from_static("webhook-signature"), &signature);
        }
        headers
    }
}
