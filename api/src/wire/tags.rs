use poem_openapi::Tags;

/// The sections of the OpenAPI document.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Place orders and follow them.
    Orders,
    /// Look at the queue, pause it, resume it.
    Queue,
    /// Count the orders and measure the service.
    Reports,
    /// The operations of the first release. They will stay; those at `/orders` can do more.
    #[oai(rename = "First release")]
    FirstRelease,
}
