//! Whether the test of the compose deployment can run.

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::servers::{Engine, Source};

/// What the deployment is built from and runs, besides MySQL.
const IMAGES: [&str; 3] = ["debian:bookworm-slim", "rust:1.95-slim-bookworm", "prom/prometheus:v3.5.3"];

/// Why the test cannot run; `None` where it can.
pub(super) fn obstacle(source: &Source, interrupt: &Interrupt) -> Result<Option<String>> {
    let engine = match source {
        Source::Docker(engine) => engine,
        Source::Url(_) => return Ok(Some("this run is on the server of TEST_DATABASE_URL".to_owned())),
        Source::Private(_) => return Ok(Some("this run is without Docker".to_owned())),
    };
    for plugin in ["compose", "buildx"] {
        if !engine.ask(&[plugin, "version"], interrupt)?.ok {
            return Ok(Some(format!("`docker {plugin}` is not installed")));
        }
    }
    missing_image(engine, interrupt)
}

fn missing_image(engine: &Engine, interrupt: &Interrupt) -> Result<Option<String>> {
    for image in IMAGES {
        if let Err(error) = engine.provide(image, interrupt) {
            interrupt.check()?;
            return Ok(Some(format!("{error:#}")));
        }
    }
    Ok(None)
}
