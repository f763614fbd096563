//! The command `deliver`.

use anyhow::Context;
use clap::{ArgGroup, Args};
use orders_shared::config::InvalidSetting;
use orders_shared::domain::OrderId;
use orders_shared::store::{Store, StoreSettings};

use super::FulfilmentArgs;
use crate::processors::{Delivery, FulfilmentSettings};

/// One order is read, over one connection; a pool has at least two.
const CONNECTIONS_MAX: u32 = 2;

/// Settings of `deliver`.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["order", "test"])))]
pub struct DeliverArgs {
    /// Sends the order with this id as an attempt would, whatever its status. The order does not change.
    #[arg(long, value_name = "ID", requires = "database_url")]
    order: Option<OrderId>,

    /// Sends a signed message of the type `order.test`, which is about no order.
    #[arg(long)]
    test: bool,

    /// Sends it to this URL instead of `FULFILMENT_URL`.
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// Prints the request as a curl command line instead, with a signature that is accepted for some minutes.
    #[arg(long)]
    pub print: bool,

    /// The database with the order: mysql://user:password@host:port/database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    #[command(flatten)]
    fulfilment: FulfilmentArgs,
}

impl DeliverArgs {
    /// What is sent. Fails if there is no such order.
    pub async fn delivery(&self) -> anyhow::Result<Delivery> {
        let (Some(order_id), Some(url)) = (self.order, &self.database_url) else { return Ok(Delivery::Test) };
        let store = Store::new(StoreSettings::new(url, CONNECTIONS_MAX)?);
        let order = store.order(order_id).await;
        store.close().await;
        let order = order?.with_context(|| format!("there is no order {order_id}"))?;
        Ok(Delivery::Order(Box::new(order)))
    }

    /// How it is sent.
    pub fn fulfilment(&self) -> Result<FulfilmentSettings, InvalidSetting> {
        match &self.to {
            Some(url) => self.fulfilment.settings_to("--to", url),
            None => self.fulfilment.settings()?.ok_or_else(|| {
                InvalidSetting::new(
                    "FULFILMENT_URL",
                    "is not set, and `--to` is not given: nothing says where to send it",
                )
            }),
        }
    }
}
