use std::sync::Arc;

use poem::http::{HeaderMap, header};
use poem_openapi::payload::PlainText;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};
use prometheus::Registry;

use super::Tag;
use crate::dto::Report;
use crate::edge::accepts;
use crate::metrics::ApiMetrics;
use crate::payload::{Json, Problem};
use crate::reports::{Counts, QueueReports};
use crate::routes::orders::read_problem;

/// Figures over all orders. Without a source it only documents itself.
pub(crate) struct ReportApi {
    pub(crate) source: Option<Source>,
}

/// Where the figures come from.
pub(crate) struct Source {
    pub(crate) counts: Counts,
    pub(crate) queue: QueueReports,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<ApiMetrics>,
}

#[derive(ResponseContent)]
enum ReportContent {
    Json(Json<Report>),
    #[oai(content_type = "text/plain; version=0.0.4; charset=utf-8")]
    Prometheus(PlainText<String>),
}

#[derive(ApiResponse)]
enum Reported {
    /// The figures, all of one moment.
    #[oai(status = 200)]
    Figures(ReportContent),
}

#[derive(ApiResponse)]
enum Scraped {
    /// The figures of the orders and of this process.
    #[oai(status = 200, content_type = "text/plain; version=0.0.4; charset=utf-8")]
    Prometheus(PlainText<String>),
}

#[OpenApi(tag = "Tag::Reports")]
impl ReportApi {
    /// Report on the orders
    ///
    /// JSON, or Prometheus' text format when the `Accept` header prefers `text/plain`.
    #[oai(path = "/metrics", method = "get", operation_id = "report")]
    async fn report(&self, headers: &HeaderMap) -> Result<Reported, Problem> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if prefers_text(accept) || !accepts(headers, &["application/json"]) {
            return Ok(Reported::Figures(ReportContent::Prometheus(PlainText(self.prometheus().await?))));
        }
        let counts = self.source()?.counts.read().await.ok_or_else(Problem::internal)?;
        let counts = counts.map_err(|error| read_problem(&error))?;
        Ok(Reported::Figures(ReportContent::Json(Json(Report::from(&counts)))))
    }

    /// Report in Prometheus' text format
    ///
    /// The figures of the orders and the queue are missing while the database is away; `orders_database_up` says so.
    #[oai(path = "/metrics/prometheus", method = "get", operation_id = "scrape")]
    async fn scrape(&self) -> Result<Scraped, Problem> {
        Ok(Scraped::Prometheus(PlainText(self.prometheus().await?)))
    }
}

impl ReportApi {
    fn source(&self) -> Result<&Source, Problem> {
        self.source.as_ref().ok_or_else(Problem::internal)
    }

    async fn prometheus(&self) -> Result<String, Problem> {
        let Source { queue, registry, metrics, .. } = self.source()?;
        let report = queue.read().await.ok_or_else(Problem::internal)?;
        metrics.text(registry, report.as_deref().ok()).map_err(|error| Problem::internal().because(&error))
    }
}

/// Whether an `Accept` header (RFC 9110, section 12.5.1) ranks plain text, or Prometheus' OpenMetrics, above JSON.
fn prefers_text(accept: &str) -> bool {
    let weight = |ranges: &[&str]| accept.split(',').filter_map(|range| weight_of(range, ranges)).fold(0.0, f32::max);
    weight(&["text/plain", "text/*", "application/openmetrics-text"])
        > weight(&["application/json", "application/*", "*/*"])
}

/// The weight of one media range, where it is one of `ranges`.
fn weight_of(range: &str, ranges: &[&str]) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
    ranges.iter().any(|range| range.eq_ignore_ascii_case(name)).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_text_and_everyone_else_json() {
        let scrape = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [scrape, "text/plain", "application/json;q=0.5, text/plain"] {
            assert!(prefers_text(accept), "{accept}");
        }
        for accept in ["", "*/*", "application/json", "text/html,*/*;q=0.8", "text/plain;q=0.4,application/json"] {
            assert!(!prefers_text(accept), "{accept}");
        }
    }
}
