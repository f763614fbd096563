use orders_shared::domain::OrderCounts;
use poem_openapi::Object;
use serde::Serialize;

/// Figures about all orders, with the keys of the first release.
#[derive(Object, Serialize)]
pub struct Report {
    /// The figures, all read at the same moment.
    data: ReportFigures,
}

/// Figures about all orders.
#[derive(Object, Serialize)]
struct ReportFigures {
    /// Orders that were completed.
    #[oai(rename = "Total orders processed")]
    #[serde(rename = "Total orders processed")]
    total: u64,
    /// Orders that wait for a worker.
    #[oai(rename = "Pending orders:")]
    #[serde(rename = "Pending orders:")]
    pending: u64,
    /// Orders that were completed.
    #[oai(rename = "Completed orders:")]
    #[serde(rename = "Completed orders:")]
    completed: u64,
    /// Orders that a worker has claimed.
    #[oai(rename = "Processing orders:")]
    #[serde(rename = "Processing orders:")]
    processing: u64,
    /// Mean seconds from placing an order to its completion.
    #[oai(rename = "Average processing time:")]
    #[serde(rename = "Average processing time:")]
    average_secs: f64,
}

impl From<&OrderCounts> for Report {
    fn from(counts: &OrderCounts) -> Self {
        Self {
            data: ReportFigures {
                total: counts.completed,
                pending: counts.pending,
                completed: counts.completed,
                processing: counts.processing,
                average_secs: counts.average_processing_secs(),
            },
        }
    }
}
