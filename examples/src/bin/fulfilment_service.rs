//! The sample service of the demo: receives the orders that `orders-worker` pushes, and ships each of them once.
//!
//! A service of your own needs the three steps of [`receive`]: verify the signature, do the work once for each
//! `webhook-id`, and answer with the outcome. To show what the worker does about it, this one is also slow, fails,
//! rejects some orders, and is away for ten seconds of each minute.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{IsTerminal, stdout};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{ArgAction, Parser};
use poem::http::{HeaderMap, StatusCode};
use poem::listener::TcpListener;
use poem::web::{Data, Json};
use poem::{EndpointExt, IntoResponse, Response, Route, Server, handler, post};
use ring::hmac;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// How long it is there, and then away.
const THERE_FOR: Duration = Duration::from_secs(35);
const AWAY_FOR: Duration = Duration::from_secs(10);

/// An older or newer delivery may be a recorded one that somebody sends again.
const CLOCKS_DIFFER_BY_SECS: u64 = 300;

/// Shipped orders that it remembers. A real service keeps them in its database.
const REMEMBERED: usize = 10_000;

/// A sample service that ships pushed orders, and goes wrong on purpose.
#[derive(Parser)]
struct Settings {
    /// Where it listens.
    #[arg(long, env = "DEMO_LISTEN", default_value = "127.0.0.1:9200")]
    listen: SocketAddr,

    /// The secret that it shares with the worker: `whsec_` and Base64.
    #[arg(long, env = "FULFILMENT_SECRET", hide_env_values = true)]
    secret: String,

    /// Whether it goes wrong on purpose.
    #[arg(long, env = "DEMO_FAULTS", default_value_t = true, action = ArgAction::Set)]
    faults: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let log = tracing_subscriber::fmt().with_env_filter("fulfilment_service=info");
    log.with_target(false).with_ansi(stdout().is_terminal()).init();
    let service =
        Arc::new(Service { key: signing_key(&settings.secret)?, faults: settings.faults, shipped: Mutex::default() });
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = serve(settings.listen, service) => ended,
        _ = terminate.recv() => Ok(()),
    }
}

/// Serves, and nobody listens for a while now and then.
async fn serve(listen: SocketAddr, service: Arc<Service>) -> Result<()> {
    loop {
        let goes_away = async { if service.faults { sleep(THERE_FOR).await } else { pending().await } };
        let app = Route::new().at("/", post(receive)).data(Arc::clone(&service));
        let server = Server::new(TcpListener::bind(listen));
        tracing::info!(%listen, "there");
        let ended = server.run_with_graceful_shutdown(app, goes_away, Some(Duration::from_secs(1))).await;
        ended.with_context(|| format!("cannot listen on {listen} (DEMO_LISTEN)"))?;
        tracing::warn!("away for {} s", AWAY_FOR.as_secs());
        sleep(AWAY_FOR).await;
    }
}

/// What the worker sends.
#[derive(Deserialize)]
struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

/// The part of an order that this service reads.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    user_id: i64,
}

/// Answers a delivery.
#[handler]
async fn receive(Data(service): Data<&Arc<Service>>, headers: &HeaderMap, body: Vec<u8>) -> Response {
    if !service.is_signed(headers, &body) {
        return reason(StatusCode::UNAUTHORIZED, "the signature is wrong");
    }
    let order = match serde_json::from_slice(&body) {
        Ok(Delivery { kind, data }) if kind == "order.placed" => serde_json::from_value::<Order>(data),
        // Such as order.test.
        Ok(_) => return StatusCode::NO_CONTENT.into_response(),
        Err(error) => Err(error),
    };
    let Ok(order) = order else { return reason(StatusCode::BAD_REQUEST, "this is no order") };
    let answer = service.ship(header(headers, "webhook-id"), &order).await;
    let attempt = header(headers, "orders-attempt");
    tracing::info!("order {} of user {}, attempt {attempt}: {}", order.order_id, order.user_id, answer.status());
    answer
}

struct Service {
    key: hmac::Key,
    faults: bool,
    /// The tracking number of each order, by the `webhook-id` of its deliveries.
    shipped: Mutex<BTreeMap<String, String>>,
}

impl Service {
    /// Whether the delivery is signed with our key (Standard Webhooks), and recent. During a rotation it has two signatures.
    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let (id, timestamp) = (header(headers, "webhook-id"), header(headers, "webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_recent = timestamp.parse::<u64>().is_ok_and(|sent| sent.abs_diff(now) <= CLOCKS_DIFFER_BY_SECS);
        let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let signatures = header(headers, "webhook-signature").split(' ').filter_map(|it| it.strip_prefix("v1,"));
        let mut signatures = signatures.filter_map(|it| BASE64_STANDARD.decode(it).ok());
        // `verify` takes the same time wherever the two differ.
        is_recent && signatures.any(|signature| hmac::verify(&self.key, &content, &signature).is_ok())
    }

    async fn ship(&self, webhook_id: &str, order: &Order) -> Response {
        sleep(Duration::from_millis(fastrand::u64(50..=200))).await;
        let dice = if self.faults { fastrand::u8(..100) } else { 100 };
        if order.user_id % 10 == 3 {
            return reason(StatusCode::UNPROCESSABLE_ENTITY, "nothing is delivered to users whose number ends in 3");
        }
        if dice < 2 {
            let busy = reason(StatusCode::SERVICE_UNAVAILABLE, "too many parcels at the moment");
            return busy.with_header("retry-after", "1").into_response();
        }
        if dice < 5 {
            return reason(StatusCode::CONFLICT, "another delivery of this order is being worked on");
        }
        let tracking_number = self.tracking_number(webhook_id);
        if dice < 15 {
            // The parcel is on its way, and the worker will not know: the next attempt must not send a second one.
            return reason(StatusCode::INTERNAL_SERVER_ERROR, "the process crashed right after the work");
        }
        Json(json!({ "tracking_number": tracking_number })).into_response()
    }

    /// Sends a parcel, unless one was sent for an earlier delivery of the order.
    fn tracking_number(&self, webhook_id: &str) -> String {
        let mut shipped = self.shipped.lock().unwrap_or_else(PoisonError::into_inner);
        if shipped.len() > REMEMBERED {
            shipped.pop_first();
        }
        let number = shipped.entry(webhook_id.to_owned()).or_insert_with(|| format!("DEMO{:010}", fastrand::u32(..)));
        number.clone()
    }
}

/// The key in a secret of Standard Webhooks: `whsec_` and Base64.
fn signing_key(secret: &str) -> Result<hmac::Key> {
    let encoded = secret.strip_prefix("whsec_").context("FULFILMENT_SECRET does not begin with whsec_")?;
    let key = BASE64_STANDARD.decode(encoded).context("FULFILMENT_SECRET is no Base64 behind whsec_")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// A header, or an empty text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An answer that says why the order is not done. The worker keeps it with the order.
fn reason(status: StatusCode, reason: &str) -> Response {
    Json(json!({ "reason": reason })).with_status(status).into_response()
}
