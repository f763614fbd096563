//! `orders-worker deliver`: sends one message by hand, or shows how.

use std::fmt::Write as _;
use std::io::Write;
use std::time::SystemTime;

use chrono::{SubsecRound, Utc};
use hyper::header::HeaderMap;
use orders_shared::domain::{NotDone, Order, OrderId, Outcome, WorkError};

use super::Service;
use super::answer::Answer;
use super::request::Message;
use super::settings::FulfilmentSettings;

/// What is delivered by hand.
#[derive(Debug)]
pub enum Delivery {
    /// An order, as an attempt would deliver it. The order itself does not change.
    Order(Box<Order>),
    /// A message of the type `order.test`.
    Test,
}

impl Delivery {
    fn message(&self) -> serde_json::Result<Message> {
        match self {
            Self::Order(order) => Message::order_placed(order, order.attempt.max(1)),
            Self::Test => Message::test(OrderId::new().to_string(), Utc::now().trunc_subsecs(3)),
        }
    }
}

/// Sends the message, and writes the answer and what it would mean for an order. Returns whether the order would be done.
pub async fn deliver(
    delivery: &Delivery,
    settings: FulfilmentSettings,
    output: &mut impl Write,
) -> anyhow::Result<bool> {
    let message = delivery.message()?;
    let is_signed = settings.requests.secrets.is_some();
    let service = Service::new(settings);
    let outcome = match service.send(&message).await {
        Ok(answer) => {
            write_answer(&answer, output)?;
            answer.outcome(service.duplicate_status, SystemTime::now())
        }
        Err(failed) => Err(failed),
    };
    writeln!(output, "outcome: {}", in_words(&outcome))?;
    if !is_signed {
        writeln!(output, "It was sent without a signature, as FULFILMENT_SECRET is not set.")?;
    }
    Ok(outcome.is_ok())
}

/// Writes the message as a command line of curl. Services accept its signature for some minutes: five by most libraries.
pub fn print_curl(delivery: &Delivery, settings: &FulfilmentSettings, output: &mut impl Write) -> anyhow::Result<()> {
    let message = delivery.message()?;
    let headers = settings.requests.headers(&message, SystemTime::now());
    writeln!(output, "{}", curl(settings, &headers, &message.body)?)?;
    Ok(())
}

fn curl(settings: &FulfilmentSettings, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<String> {
    let mut options = vec![("--max-time", settings.timeout.as_secs_f64().to_string().into_bytes())];
    if let Some(file) = &settings.ca_file {
        options.push(("--cacert", file.as_os_str().as_encoded_bytes().to_vec()));
    }
    for (name, value) in headers {
        options.push(("--header", [name.as_str().as_bytes(), b": ", value.as_bytes()].concat()));
    }
    options.push(("--data-binary", body.to_vec()));
    let uri = settings.uri.to_string();
    let mut line = format!("curl --include {}", shlex::try_quote(&uri)?);
    for (option, value) in options {
        write!(line, " \\\n  {option} {}", shlex::try_quote(std::str::from_utf8(&value)?)?)?;
    }
    Ok(line)
}

fn write_answer(answer: &Answer, output: &mut impl Write) -> std::io::Result<()> {
    writeln!(output, "{}", answer.status)?;
    for (name, value) in &answer.headers {
        writeln!(output, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
    }
    writeln!(output)?;
    if !answer.body.is_empty() {
        let cut = if answer.is_cut { " [more is not read]" } else { "" };
        writeln!(output, "{}{cut}", String::from_utf8_lossy(&answer.body))?;
    }
    Ok(())
}

fn in_words(outcome: &Outcome) -> String {
    let because = |error: &WorkError| format!("{} ({})", error.message, error.class.name());
    match outcome {
        Ok(done) => match &done.result {
            Some(result) => format!("done, with the result {}", result.json()),
            None => "done, without a result".to_owned(),
        },
        Err(NotDone::Retry { error, .. }) => format!("retry: {}", because(error)),
        Err(NotDone::Unavailable { error, .. }) => format!("unavailable: {}", because(error)),
        Err(NotDone::Rejected(error)) => format!("rejected: {}", because(error)),
        Err(NotDone::Canceled) => "canceled".to_owned(),
    }
}
