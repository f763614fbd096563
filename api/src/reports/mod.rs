//! Figures about all orders, for people and for Prometheus.

pub(crate) mod counts;
pub(crate) mod view;

use std::sync::Arc;

use poem::http::HeaderMap;
use poem::web::Data;
use poem_openapi::payload::PlainText;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};

use self::view::Report;
use crate::app::App;
use crate::edge::Preferences;
use crate::problems::Problem;
use crate::wire::json::Json;
use crate::wire::tags::Tag;

/// The operations that report figures about all orders.
pub(crate) struct ReportApi;

#[derive(ResponseContent)]
enum ReportContent {
    Json(Json<Report>),
    #[oai(content_type = "text/plain; version=0.0.4; charset=utf-8")]
    Prometheus(PlainText<String>),
}

#[derive(ApiResponse)]
enum Reported {
    /// The figures, all read at the same moment.
    #[oai(status = 200)]
    Figures(ReportContent),
}

#[derive(ApiResponse)]
enum Scraped {
    /// The figures of all orders and of this process.
    #[oai(status = 200, content_type = "text/plain; version=0.0.4; charset=utf-8")]
    Prometheus(PlainText<String>),
}

#[OpenApi(tag = "Tag::Reports")]
impl ReportApi {
    /// Report on the orders
    ///
    /// Answers with JSON, or with Prometheus' text format if the `Accept` header prefers `text/plain`.
    #[oai(path = "/metrics", method = "get", operation_id = "report")]
    async fn report(&self, headers: &HeaderMap, app: Data<&Arc<App>>) -> Result<Reported, Problem> {
        if prefers_text(headers) {
            return Ok(Reported::Figures(ReportContent::Prometheus(PlainText(prometheus(&app).await?))));
        }
        let counts = app.counts.read().await.ok_or_else(Problem::internal)?;
        let counts = counts.map_err(|error| Problem::from(&*error))?;
        Ok(Reported::Figures(ReportContent::Json(Json::new(&Report::from(&counts)))))
    }

    /// Report in Prometheus' text format
    ///
    /// While the database is away, `orders_database_up` is 0 and the figures of the orders and the queue are missing.
    #[oai(path = "/metrics/prometheus", method = "get", operation_id = "scrape")]
    async fn scrape(&self, app: Data<&Arc<App>>) -> Result<Scraped, Problem> {
        Ok(Scraped::Prometheus(PlainText(prometheus(&app).await?)))
    }
}

async fn prometheus(app: &App) -> Result<String, Problem> {
    let report = app.queue.read().await.ok_or_else(Problem::internal)?.ok();
    app.metrics.text(&app.registry, report.as_deref()).map_err(|error| Problem::internal().because(&error))
}

/// Whether the caller prefers plain text, or OpenMetrics, to JSON.
fn prefers_text(headers: &HeaderMap) -> bool {
    let accepted = Preferences::of_media_types(headers);
    let text = accepted.media_type("text/plain").max(accepted.first(&["application/openmetrics-text"]));
    text > accepted.media_type("application/json")
}

#[cfg(test)]
mod tests {
    use poem::http::{HeaderValue, header};

    use super::*;

    #[test]
    fn prometheus_gets_text_and_everyone_else_json() {
        let scrape = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, is_text) in [
            (scrape, true),
            ("text/plain", true),
            ("application/json;q=0.5, text/plain", true),
            ("application/json;q=0, */*", true),
            ("application/json;q=0.5, */*", true),
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("text/html,*/*;q=0.8", false),
            ("text/plain;q=0.4,application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);

            assert_eq!(prefers_text(&headers), is_text, "{accept}");
        }
    }
}
