//! A worker in Rust whose work is cheaper by the dozen: one call to the carrier ships up to twelve orders.

use std::process::ExitCode;

use orders_worker::{Attempt, Done, NotDone, Outcome, Processor, async_trait};
use serde_json::json;

fn main() -> ExitCode {
    orders_worker::main(ShipInBatches)
}

struct ShipInBatches;

#[async_trait]
impl Processor for ShipInBatches {
    fn batch_max(&self) -> usize {
        12
    }

    async fn process_many(&self, attempts: &[Attempt<'_>]) -> Vec<Outcome> {
        book_pallet(attempts).into_iter().map(outcome).collect()
    }

    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        outcome(book_parcel(attempt, 1))
    }
}

/// What the carrier says of an order.
type Booked = Result<serde_json::Value, &'static str>;

/// One order that cannot be shipped fails by itself; the others of its batch are done.
fn outcome(booked: Booked) -> Outcome {
    let parcel = booked.map_err(NotDone::rejected)?;
    Ok(Done::with(&parcel)?)
}

/// Stands for the carrier, which answers for each order of a pallet.
fn book_pallet(attempts: &[Attempt<'_>]) -> Vec<Booked> {
    attempts.iter().map(|attempt| book_parcel(*attempt, attempts.len())).collect()
}

fn book_parcel(Attempt { order, .. }: Attempt<'_>, on_pallet: usize) -> Booked {
    if order.item_ids.as_slice().contains(&13) {
        return Err("item 13 is not sold any more");
    }
    Ok(json!({ "tracking_number": format!("PARCEL-{}", order.order_id), "on_pallet": on_pallet }))
}
