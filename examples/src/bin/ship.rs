//! A whole worker in Rust: it ships orders, and keeps the tracking number of each.
//!
//! `DATABASE_URL=mysql://… cargo run --package orders-examples --bin ship`; `--help` has its settings.

use std::process::ExitCode;

use orders_worker::{Attempt, Done, NotDone, Order, Outcome, Processor, Version, async_trait};
use serde_json::json;

fn main() -> ExitCode {
    orders_worker::main(Ship)
}

struct Ship;

#[async_trait]
impl Processor for Ship {
    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        if attempt.order.item_ids.as_slice().contains(&13) {
            return Err(NotDone::rejected("item 13 is not sold any more"));
        }
        let tracking_number = book_parcel(attempt.order, attempt.number).await?;
        Ok(Done::with(&json!({ "tracking_number": tracking_number }))?)
    }

    fn version(&self) -> Version {
        Version::new(env!("CARGO_PKG_VERSION"), option_env!("ORDERS_REVISION"))
    }
}

/// Stands for a carrier, which books one parcel however often it is asked for the same order, and hangs up now and then.
#[expect(clippy::unused_async, reason = "a real carrier is waited for")]
async fn book_parcel(order: &Order, attempt: u16) -> Result<String, std::io::Error> {
    if order.user_id.get() == 7 && attempt == 1 {
        return Err(std::io::Error::other("the carrier hung up"));
    }
    Ok(format!("PARCEL-{}", order.order_id))
}
