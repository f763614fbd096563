//! The demo: a service that fulfils orders and goes wrong on purpose, and customers who place some.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use xtask::data_dir::DataDir;
use xtask::interrupt::Interrupt;
use xtask::output::{Label, say};
use xtask::process::Process;

use super::address::Address;
use crate::binaries::build_demo;
use crate::checkout::Checkout;

/// What the worker signs with. It protects nothing, as only this machine reaches the service.
const SECRET: &str = "whsec_VGhpcyBzZWNyZXQgaXMgbm9uZSBhdCBhbGwu";

/// What the demo adds to a system.
pub(super) struct Demo {
    address: Address,
    url: String,
    service: PathBuf,
    customers: PathBuf,
}

impl Demo {
    /// Builds its programs. The service will listen on `address`.
    pub(super) fn build(address: Address, release: bool, checkout: &Checkout, interrupt: &Interrupt) -> Result<Self> {
        let [service, customers] = build_demo(release, checkout, interrupt)?;
        let url = format!("http://{}/", address.reachable());
        Ok(Self { address, url, service, customers })
    }

    /// The settings of a worker that pushes orders to the service.
    pub(super) fn settings(&self) -> Vec<(&str, &str)> {
        vec![("FULFILMENT_URL", &self.url), ("FULFILMENT_SECRET", SECRET)]
    }

    pub(super) fn start_service(&self, data: &DataDir) -> Result<Process> {
        say("== starting the sample service");
        let mut command = Command::new(&self.service);
        command.env(self.address.variable, &self.address.text).env("FULFILMENT_SECRET", SECRET);
        Process::start_labelled("fulfilment_service", data.mark(&mut command), Label::SERVICE)
    }

    /// Starts the customers, who place orders until the process is dropped.
    pub(super) fn start_customers(&self, api: &Address, data: &DataDir) -> Result<Process> {
        let mut command = Command::new(&self.customers);
        command.env("DEMO_API_URL", format!("http://{}", api.reachable()));
        Process::start_labelled("trickle", data.mark(&mut command), Label::CUSTOMERS)
    }
}

/// Says what there is to see.
pub(super) fn announce(api: &Address) {
    let api = api.for_people();
    say(format_args!(
        "\
The demo: customers place some orders a second, and the worker pushes them to a service that fails now and then, rejects
the orders of users whose number ends in 3, and is away for ten seconds of each minute. Watch:

  the breaker, which opens while the service is away     curl -s http://{api}/queue
  orders that wait for it, or for their next attempt     curl -s 'http://{api}/orders?status=pending&limit=3'
  orders that were rejected                              curl -s 'http://{api}/orders?status=failed&limit=3'
  what happened to one of them, and why                  curl -s http://{api}/orders/ORDER_ID/events
  its result, once it is COMPLETED: a tracking number    curl -s http://{api}/orders/ORDER_ID
"
    ));
}
