//! The customers of the demo: place a few orders a second.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

/// The longest that one of them waits for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Places a few orders a second.
#[derive(Parser)]
struct Settings {
    /// The URL of the API, without a path.
    #[arg(long, env = "DEMO_API_URL", default_value = "http://127.0.0.1:8000")]
    api_url: String,

    /// Orders a second.
    #[arg(long, env = "DEMO_ORDERS_PER_SECOND", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    orders_per_second: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Settings { api_url, orders_per_second } = Settings::parse();
    tracing_subscriber::fmt().with_env_filter("trickle=info").with_ansi(stdout().is_terminal()).init();
    let client = Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build()?;
    let orders = format!("{api_url}/orders");
    tracing::info!("{orders_per_second} orders a second to {orders}");

    let mut ticks = interval(Duration::from_secs(1) / orders_per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let placed = client.post(&orders).json(&an_order()).send().await;
        if let Err(error) = placed.and_then(reqwest::Response::error_for_status) {
            tracing::warn!(error = &error as &dyn std::error::Error, "an order was not placed");
        }
    }
}

fn an_order() -> Value {
    json!({
        "user_id": fastrand::u8(1..=100),
        "item_ids": [fastrand::u16(1..=1_000), fastrand::u16(1..=1_000)],
        "total_amount": f64::from(fastrand::u16(100..50_000)) / 100.0,
        "currency": "EUR",
    })
}
