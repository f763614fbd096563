//! What every request passes on its way in and out: counted, timed, and each error turned into a problem.

use std::sync::Arc;
use std::time::Instant;

use poem::{Endpoint, IntoResponse, PathPattern, Request, Response, Result};

use crate::metrics::ApiMetrics;
use crate::payload::Problem;

/// Stands for every path that leads nowhere, so that strangers cannot make series of metrics.
const NO_ROUTE: &str = "none";

/// Calls `endpoint`, counts and times the request by its route's pattern, and answers errors as problems.
pub(crate) async fn observe<E: Endpoint>(
    endpoint: Arc<E>,
    request: Request,
    metrics: Arc<ApiMetrics>,
) -> Result<Response> {
    let (method, start) = (request.method().clone(), Instant::now());
    let (response, route) = match endpoint.call(request).await {
        Ok(response) => {
            let response = response.into_response();
            let route = response.data::<PathPattern>().map(|pattern| Arc::clone(&pattern.0));
            (response, route)
        }
        Err(error) => {
            let route = error.data::<PathPattern>().map(|pattern| Arc::clone(&pattern.0));
            (Problem::of(&error).into_response(), route)
        }
    };
    let route = route.as_deref().unwrap_or(NO_ROUTE);
    metrics.request(known(method.as_str()), route, response.status().as_u16(), start.elapsed());
    Ok(response)
}

/// The method, where it is one that an API has; a client may make up others.
fn known(method: &str) -> &str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}
