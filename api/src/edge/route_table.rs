use poem::Request;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, MetaOperation, MetaParamIn, MetaPath, MetaSchema, MetaSchemaRef};

use super::meaning::check_headers;
use super::negotiate::Preferences;
use crate::problems::{Kind, Problem};
use crate::wire::fields::echo;

/// What is said of a parameter whose rule is no short one.
const NO_RULE: &str = "has a value that it cannot have; GET /docs shows what it takes";

/// Every path that leads somewhere, with what the OpenAPI document says of it.
pub(crate) struct RouteTable(Vec<Route>);

/// One path.
pub(super) struct Route {
    /// As the document has it: `/orders/{order_id}`.
    pub(super) path: String,
    /// Whether operators' tools ask it: it is never turned away, whatever the load and whatever they accept.
    pub(super) is_ops: bool,
    /// Whether it is the same for everybody, and for long: nobody looks at what is sent.
    pub(super) is_page: bool,
    operations: Vec<Operation>,
}

/// One method of a path.
pub(super) struct Operation {
    method: Method,
    /// The media types of its good answers; none when it may answer with any.
    produces: Vec<&'static str>,
    parameters: Vec<Parameter>,
    has_body: bool,
}

struct Parameter {
    name: String,
    position: MetaParamIn,
    /// What its value must be, as the rest of a sentence.
    rule: String,
}

impl RouteTable {
    /// The documented paths, and beside them `pages` and `ops`, which have GET alone.
    pub(crate) fn new(apis: Vec<MetaApi>, pages: &[&str], ops: &[&str]) -> Self {
        let documented = apis.into_iter().flat_map(|api| api.paths);
        let documented =
            documented.map(|MetaPath { path, operations }| (path, operations.iter().map(Operation::of).collect()));
        let plain = pages.iter().chain(ops).map(|path| ((*path).to_owned(), vec![Operation::plain()]));
        let mut routes: Vec<Route> = Vec::new();
        for (path, operations) in documented.chain(plain) {
            match routes.iter_mut().find(|route| route.path == path) {
                // A tool's path that is documented too.
                Some(route) if route.is_ops => {}
                // Each struct of operations tells its own, though they share a path.
                Some(route) => route.operations.extend(operations),
                None => routes.push(Route {
                    is_ops: ops.contains(&path.as_str()),
                    is_page: pages.contains(&path.as_str()),
                    operations,
                    path,
                }),
            }
        }
        // A path of names goes before one with a parameter in the same place, as in the router.
        routes.sort_by_cached_key(|route| route.path.replace('{', "\u{7f}"));
        Self(routes)
    }

    /// Where a path leads; empty segments mean nothing.
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
    /// The operation of a method; HEAD is a GET whose body stays here.
    pub(super) fn operation(&self, method: &Method) -> Result<&Operation, Problem> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.operations.iter().find(|operation| operation.method == *method);
        found.ok_or_else(|| {
            let detail = format!("This path has no such method. It has {}.", self.allow());
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

    /// Refuses what an operation of this path cannot answer, and what it does not take.
    pub(super) fn check(&self, operation: &Operation, request: &Request) -> Result<(), Problem> {
        if self.is_page {
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

    /// Whether a body is refused here.
    pub(super) fn takes_no_body(&self, operation: &Operation) -> bool {
        !self.is_page && !operation.has_body
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

    /// Refuses parameters that are not known, and those that are given twice.
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
                let detail = format!("There is no parameter `{shown}` in this operation's query; there is {known}.");
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

    /// What is to be said when the parameter `name` is invalid; the library does not always know its name.
    pub(super) fn invalid(&self, name: &str) -> Problem {
        let found = self.parameters.iter().find(|parameter| parameter.name == name);
        let detail = match found.or_else(|| self.parameters(MetaParamIn::Path).next()) {
            Some(Parameter { name, rule, .. }) => format!("The parameter `{name}` {rule}."),
            None => format!("The parameter `{name}` has a value that it cannot have."),
        };
        Problem::new(Kind::InvalidParameter, detail)
    }
}

/// What a value must be, as the document has it.
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
    fn a_path_leads_to_the_route_with_the_most_names_and_slashes_mean_nothing() {
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
            assert_eq!(found.is_some_and(|route| route.is_ops), path == "/livez", "{path}");
        }
    }
}
