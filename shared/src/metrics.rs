//! Prometheus metrics of one process: its own registry, never the crate's global one.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, Opts, Registry, TextEncoder};

use crate::version::Version;

/// A registry with the process's own figures (`process_*`) and its build (`orders_build_info`).
pub fn registry(version: Version) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build =
        Opts::new("orders_build_info", "Always 1; the labels name the release and the revision of this program.")
            .const_label("version", version.release)
            .const_label("revision", version.revision);
    let build = IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}

/// Everything registered, in Prometheus' text format.
pub fn text(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
