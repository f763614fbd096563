//! The Prometheus metrics of one process, in a registry of its own and never in the crate's global one.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

/// A registry with the metrics of the process itself (`process_*`).
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

/// All registered metrics in Prometheus' text format.
pub fn text(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
