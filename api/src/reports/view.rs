use orders_shared::domain::OrderCounts;
use poem_openapi::Object;
use serde::Serialize;

/// The report on the orders. The keys are the old program's, to the letter.
#[derive(Object, Serialize)]
pub struct Report {
    /// The figures, all of one moment.
    data: ReportFigures,
}

/// The figures of the report.
#[derive(Object, Serialize)]
struct ReportFigures {
    /// Orders completed.
    #[oai(rename = "Total orders processed")]
    #[serde(rename = "Total orders processed")]
    total: u64,
    /// Orders that wait.
    #[oai(rename = "Pending orders:")]
    #[serde(rename = "Pending orders:")]
    pending: u64,
    /// Orders completed.
    #[oai(rename = "Completed orders:")]
    #[serde(rename = "Completed orders:")]
    completed: u64,
    /// Orders claimed.
    #[oai(rename = "Processing orders:")]
    #[serde(rename = "Processing orders:")]
    processing: u64,
    /// Mean seconds from creation to completion.
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
