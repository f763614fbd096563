//! The Prometheus metrics of one process, in a registry of its own and never in the crate's global one.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, Opts, Registry, TextEncoder};

use crate::version::Version;

/// A registry with the metrics of the process itself (`process_*`) and its build (`orders_build_info`).
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

/// All registered metrics in Prometheus' text format.
pub fn text(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
