//! The figures, their bases, and their targets.

use std::fmt::Write;

use serde_json::json;

use crate::cpu::Shares;
use crate::figures::{digits, quotient};
use crate::programs::Programs;

/// The base that a figure is divided by.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    /// The server's own transactions a second.
    R0,
    /// Another figure, by its name.
    Figure(&'static str, f64),
    /// None: the figure stands for itself.
    None,
}

/// What the ratio must reach, or the figure itself if it has no base.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    unit: &'static str,
    base: Base,
    target: Target,
}

/// Between quiet measurements R0 differs by less.
const DRIFT_MAX: f64 = 1.25;

/// When, where and on what the figures were measured.
pub(crate) struct Run {
    pub(crate) date: String,
    pub(crate) server: String,
    pub(crate) machine: String,
    /// How many programs wanted a core when the run began, on average over a minute: other work makes figures useless.
    pub(crate) load: f64,
    pub(crate) quick: bool,
}

/// All figures of a run.
pub(crate) struct Report {
    run: Run,
    r0: Vec<f64>,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(run: Run) -> Self {
        Self { run, r0: Vec::new(), figures: Vec::new() }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, base: Base, target: Target) {
        let figure = Figure { name: name.into(), value, unit, base, target };
        crate::output::say(format_args!("   {}: {} {unit}", figure.name, digits(value)));
        self.figures.push(figure);
    }

    /// Adds a rate of orders, with R0 as its base.
    pub(crate) fn rate(&mut self, name: impl Into<String>, value: f64, target: Target) {
        self.add(name, value, "orders/s", Base::R0, target);
    }

    /// Adds the processor time of an order.
    pub(crate) fn cpu(&mut self, shape: &str, shares: Shares) {
        for (part, micros) in shares {
            self.add(format!("{shape}: CPU of {part}"), micros, "µs/order", Base::None, Target::None);
        }
    }

    pub(crate) fn r0(&mut self, transactions_per_second: f64) {
        crate::output::say(format_args!("== R0: {} transactions/s", digits(transactions_per_second)));
        self.r0.push(transactions_per_second);
    }

    /// Adds the most memory that each program had in any shape.
    pub(crate) fn memory(&mut self, programs: &Programs) {
        for (name, peak) in
            [("memory of orders-api", &programs.api_peak), ("memory of orders-worker", &programs.worker_peak)]
        {
            if peak.get() > 0 {
                self.add(name, quotient(peak.get(), 1024.0 * 1024.0), "MiB", Base::None, Target::AtMost(64.0));
            }
        }
    }

    /// R0 of the run: the mean of its beginning and its end.
    fn mean_r0(&self) -> f64 {
        self.r0.iter().sum::<f64>() / quotient(self.r0.len() as u64, 1.0)
    }

    /// The figures that are ratios to R0, with the ratio and what it must reach.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&Figure, f64, Option<f64>)> {
        let r0 = self.mean_r0();
        self.figures.iter().filter(|figure| matches!(figure.base, Base::R0)).map(move |figure| {
            let least = if let Target::AtLeast(least) = figure.target { Some(least) } else { None };
            (figure, figure.value / r0, least)
        })
    }

    /// Whether R0 changed between the beginning and the end.
    fn has_drifted(&self) -> bool {
        let (least, most) = self.r0.iter().fold((f64::MAX, 0.0), |(least, most), r0| (r0.min(least), r0.max(most)));
        most > least * DRIFT_MAX
    }

    /// A figure as a ratio to its base.
    fn ratio(&self, figure: &Figure) -> Option<f64> {
        match figure.base {
            Base::R0 => Some(figure.value / self.mean_r0()),
            Base::Figure(_, base) => Some(figure.value / base),
            Base::None => None,
        }
    }

    fn is_met(&self, figure: &Figure) -> Option<bool> {
        let measured = self.ratio(figure).unwrap_or(figure.value);
        match figure.target {
            Target::AtLeast(least) => Some(measured >= least),
            Target::AtMost(most) => Some(measured <= most),
            Target::None => None,
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let Run { date, server, machine, load, quick } = &self.run;
        let form = if *quick { "quick form" } else { "full run" };
        let r0: Vec<_> = self.r0.iter().map(|r0| digits(*r0)).collect();
        let mut text = format!(
            "\n{date}, {form}, {server}, {machine}, load before {load}\nR0 = {} transactions/s ({})\n\n",
            digits(self.mean_r0()),
            r0.join(", ")
        );
        if self.has_drifted() {
            text.push_str("R0 drifted: the machine was not quiet, and the ratios say little.\n\n");
        }
        let mut row = |cells: [&str; 6]| {
            let [name, value, unit, ratio, target, verdict] = cells;
            let _ = writeln!(text, "{name:<60} {value:>10} {unit:<9} {ratio:>24} {target:>8} {verdict}");
        };
        row(["figure", "value", "", "ratio", "target", ""]);
        for figure in &self.figures {
            let ratio = self.ratio(figure).map(|ratio| format!("{} x {}", digits(ratio), figure.base.name()));
            let verdict = match self.is_met(figure) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let target = figure.target.text();
            row([&figure.name, &digits(figure.value), figure.unit, &ratio.unwrap_or_default(), &target, verdict]);
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let figure = |figure: &Figure| {
            json!({
                "name": figure.name, "value": figure.value, "unit": figure.unit, "ratio": self.ratio(figure),
                "to": figure.base.name(), "target": figure.target.text(), "met": self.is_met(figure),
            })
        };
        let figures: Vec<_> = self.figures.iter().map(figure).collect();
        let Run { date, server, machine, load, quick } = &self.run;
        let report = json!({
            "date": date, "server": server, "machine": machine, "load_before": load, "quick": quick,
            "r0": self.r0, "r0_mean": self.mean_r0(), "figures": figures,
        });
        format!("{report:#}\n")
    }
}

impl Base {
    const fn name(self) -> &'static str {
        match self {
            Self::R0 => "R0",
            Self::Figure(name, _) => name,
            Self::None => "",
        }
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", short(least)),
            Self::AtMost(most) => format!("<= {}", short(most)),
            Self::None => String::new(),
        }
    }
}

/// A target as it is told.
fn short(target: f64) -> String {
    let text = format!("{target:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
