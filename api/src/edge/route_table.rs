use poem::Request;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, MetaOperation, MetaParamIn, MetaPath, MetaSchema, MetaSchemaRef};

use super::meaning::check_headers;
use super::negotiate::Preferences;
use crate::problems::{Kind, Problem};
use crate::wire::fields::echo;

/// The rule of a parameter whose rule has no short form.
const NO_RULE: &str = "has an invalid value; GET /docs shows what it takes";

/// All paths, with what the OpenAPI document says about them.
pub(crate) struct RouteTable(Vec<Route>);

/// One path.
pub(super) struct Route {
    /// The pattern as in the document: `/orders/{order_id}`.
    pub(super) path: String,
    pub(super) kind: RouteKind,
    operations: Vec<Operation>,
}

/// How strictly a path's requests are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteKind {
    /// An operation of the API: its requests must be valid.
    Api,
    /// The same for everybody, and for long: its requests are not looked at.
    Page,
    /// For operators' tools: it answers whatever the load, and whatever the client accepts.
    Ops,
}

/// One method of a path.
pub(super) struct Operation {
    method: Method,
    /// The media types of its successful answers; empty if it may answer with any.
    produces: Vec<&'static str>,
    parameters: Vec<Parameter>,
    has_body: bool,
}

struct Parameter {
    name: String,
    position: MetaParamIn,
    /// What its value must be, as the end of a sentence.
    rule: String,
}

impl RouteTable {
    /// The documented paths, and in addition `pages` and `ops`, which have only GET.
    pub(crate) fn new(apis: Vec<MetaApi>, pages: &[&str], ops: &[&str]) -> Self {
        let documented = apis.into_iter().flat_map(|api| api.paths);
        let documented =
            documented.map(|MetaPath { path, operations }| (path, operations.iter().map(Operation::of).collect()));
        let plain = pages.iter().chain(ops).map(|path| ((*path).to_owned(), vec![Operation::plain()]));
        let mut routes: Vec<Route> = Vec::new();
        for (path, operations) in documented.chain(plain) {
            match routes.iter_mut().find(|route| route.path == path) {
                // The path of an ops endpoint that is documented too.
                Some(route) if route.kind == RouteKind::Ops => {}
                // Several structs may have operations of one path.
                Some(route) => route.operations.extend(operations),
                None => {
                    let kind = match path.as_str() {
                        path if ops.contains(&path) => RouteKind::Ops,
                        path if pages.contains(&path) => RouteKind::Page,
                        _ => RouteKind::Api,
                    };
                    routes.push(Route { path, kind, operations });
                }
            }
        }
        // A fixed segment goes before a parameter in the same place, as in the router.
        routes.sort_by_cached_key(|route| route.path.replace('{', "\u{7f}"));
        Self(routes)
    }

    /// The route of a path; empty segments do not count.
    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        let segments = |path| str::split(path, '/').filter(|segment| !segment.is_empty());
        self.0.iter().find(|route| {
            let (mut pattern, mut path) = (segments(&route.path), segments(path));
            loop {
                match (pattern.next(), path.next()) {
                    (None, None) => return true,
                    (Some(name), Some(segment)) if name == segment || name.starts_with('{') => {}
                    _ => return false,
                }
            }
        })
    }
}

impl Route {
    /// The operation of a method; HEAD is a GET whose body is not sent.
    pub(super) fn operation(&self, method: &Method) -> Result<&Operation, Problem> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.operations.iter().find(|operation| operation.method == *method);
        found.ok_or_else(|| {
            let detail = format!("This path does not have this method. It has {}.", self.allow());
            Problem::new(Kind::MethodNotAllowed, detail)
        })
    }

    /// The value of the header `Allow`.
    pub(super) fn allow(&self) -> String {
        let mut methods: Vec<&str> = self.operations.iter().map(|operation| operation.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.join(", ")
    }

    /// Rejects requests that the operation cannot answer, or with parameters or headers that it does not take.
    pub(super) fn check(&self, operation: &Operation, request: &Request) -> Result<(), Problem> {
        if self.kind == RouteKind::Page {
            return Ok(());
        }
        if !Preferences::of_media_types(request.headers()).accept(&operation.produces) {
            let detail = format!("This operation answers with {}.", operation.produces.join(" or "));
            return Err(Problem::new(Kind::NotAcceptable, detail));
        }
        let is_known =
            |name: &str| operation.parameters(MetaParamIn::Header).any(|known| known.name.eq_ignore_ascii_case(name));
        check_headers(request.method(), request.headers(), is_known)?;
        operation.check_query(request)
    }

    /// Whether a body is rejected here.
    pub(super) fn takes_no_body(&self, operation: &Operation) -> bool {
        self.kind != RouteKind::Page && !operation.has_body
    }
}

impl Operation {
    fn of(operation: &MetaOperation) -> Self {
        let good = operation.responses.responses.iter();
        let good = good.filter(|response| response.status.is_some_and(|status| (200..300).contains(&status)));
        let parameters = operation.params.iter().map(|parameter| Parameter {
            name: parameter.name.clone(),
            position: parameter.in_type,
            rule: rule(&parameter.schema),
        });
        Self {
            method: operation.method.clone(),
            produces: good.flat_map(|response| &response.content).map(|content| content.content_type).collect(),
            parameters: parameters.collect(),
            has_body: operation.request.is_some(),
        }
    }

    fn plain() -> Self {
        Self { method: Method::GET, produces: vec![], parameters: vec![], has_body: false }
    }

    fn parameters(&self, position: MetaParamIn) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |parameter| parameter.position == position)
    }

    /// Rejects unknown parameters, and those that are given twice.
    fn check_query(&self, request: &Request) -> Result<(), Problem> {
        if request.uri().query().is_none() {
            return Ok(());
        }
        let known: Vec<&str> = self.parameters(MetaParamIn::Query).map(|parameter| parameter.name.as_str()).collect();
        let mut seen: Vec<String> = Vec::new();
        for (name, _) in request.params::<Vec<(String, String)>>().unwrap_or_default() {
            let shown = echo(&name);
            if !known.contains(&name.as_str()) {
                let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let detail = format!("The query has an unknown parameter `{shown}`. This operation takes: {known}.");
                return Err(Problem::new(Kind::InvalidParameter, detail));
            }
            if seen.contains(&name) {
                let detail = format!("The parameter `{shown}` must be given once.");
                return Err(Problem::new(Kind::InvalidParameter, detail));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// The problem when the parameter `name` is invalid. The library does not always know its name.
    pub(super) fn invalid(&self, name: &str) -> Problem {
        let found = self.parameters.iter().find(|parameter| parameter.name == name);
        let detail = match found.or_else(|| self.parameters(MetaParamIn::Path).next()) {
            Some(Parameter { name, rule, .. }) => format!("The parameter `{name}` {rule}."),
            None => format!("The parameter `{name}` has an invalid value."),
        };
        Problem::new(Kind::InvalidParameter, detail)
    }
}

/// What a value must be, according to the document.
fn rule(schema: &MetaSchemaRef) -> String {
    let MetaSchemaRef::Inline(schema) = schema else { return NO_RULE.to_owned() };
    let MetaSchema { ty, format, minimum, maximum, min_length, max_length, .. } = **schema;
    match (ty, format, minimum, maximum, min_length, max_length) {
        ("integer", _, Some(least), Some(most), ..) => format!("must be an integer from {least} to {most}"),
        ("integer", _, Some(least), None, ..) => format!("must be an integer of at least {least}"),
        ("string", Some("uuid"), ..) => "must be a UUID".to_owned(),
        ("string", Some("date-time"), ..) => "must be a time of RFC 3339, such as 2030-01-31T08:00:00Z".to_owned(),
        ("string", .., Some(least), Some(most)) => format!("must have {least} to {most} characters"),
        _ => NO_RULE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_route_with_the_most_fixed_segments_however_many_slashes_it_has() {
        let routes = RouteTable::new(vec![], &["/orders/{order_id}", "/orders/batch", "/orders", "/"], &["/livez"]);
        for (path, route) in [
            ("/orders/17", Some("/orders/{order_id}")),
            ("/orders/batch", Some("/orders/batch")),
            ("//orders//batch/", Some("/orders/batch")),
            ("/orders/", Some("/orders")),
            ("/", Some("/")),
            ("/livez", Some("/livez")),
            ("/orders/17/18", None),
            ("/Orders", None),
        ] {
            let found = routes.find(path);

            assert_eq!(found.map(|route| route.path.as_str()), route, "{path}");
            assert_eq!(found.is_some_and(|route| route.kind == RouteKind::Ops), path == "/livez", "{path}");
        }
    }
}
