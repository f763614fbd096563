use poem_openapi::Tags;

/// The parts of the OpenAPI document.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Place orders and follow them.
    Orders,
    /// See the queue, stop it, let it go on.
    Queue,
    /// How many orders stand where.
    Reports,
    /// The operations of the first release. They stay; those at `/orders` can do more.
    #[oai(rename = "First release")]
    FirstRelease,
}
