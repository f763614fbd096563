//! The paths that poem-openapi does not know: health, the document itself, pages.

use anyhow::Context;
use serde_json::{Value, json};

use super::model::{Model, Operation, Paths};
use orders_api::document::Kind;

/// Their tag.
const TAG: &str = "Service";

/// Adds these paths after all others.
///
/// # Errors
///
/// If `service.json` does not have the form of a document.
pub(super) fn add(document: &mut Model) -> anyhow::Result<()> {
    document.tags.push(json!({"name": TAG, "description": "The health of the service, and its documentation."}));
    let paths: Paths = serde_json::from_str(include_str!("service.json")).context("service.json has another form")?;
    document.paths.extend(paths);
    let slugs: Vec<Value> = Kind::ALL.iter().copied().map(|kind| kind.facts().slug.into()).collect();
    for operation in document.operations() {
        for parameter in operation.parameters.iter_mut().filter_map(|parameter| parameter.here()) {
            if parameter.name == "slug" {
                parameter.example = slugs.first().cloned();
                parameter.schema = json!({"type": "string", "enum": slugs});
            }
        }
    }
    Ok(())
}

impl Operation {
    /// Whether it answers everybody alike, without asking for orders.
    pub(super) fn is_page(&self) -> bool {
        self.tags.iter().any(|tag| tag == TAG)
    }
}
