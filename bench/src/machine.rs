//! The machine that the figures are from, as Linux describes it.

use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context, Result};

/// Its cores and memory.
pub(crate) fn name() -> Result<String> {
    let (cpu, memory) = (fs::read_to_string("/proc/cpuinfo")?, fs::read_to_string("/proc/meminfo")?);
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let total: u64 = total.context("the machine does not report its memory")?;
    let cores = available_parallelism()?;
    Ok(format!("{cores} cores of {}, {} GiB", model.unwrap_or("an unnamed processor"), total >> 20))
}

/// How many programs wanted a core, on average over the last minute.
pub(crate) fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split(' ').next().and_then(|load| load.parse().ok()).context("the machine does not report its load")
}
