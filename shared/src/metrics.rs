//! Prometheus metrics of one process: its own registry, never the crate's global one.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

/// A registry with the process's own figures (`process_*`).
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Everything registered, in Prometheus' text format.
pub fn text(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
