use poem::Request;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, MetaOperation, MetaParamIn, MetaPath, MetaSchema, MetaSchemaRef};

use super::meaning::check_headers;
use super::negotiate::Preferences;
use crate::problems::{Kind, Problem};
use crate::wire::fields::echo;

/// Every path that leads somewhere, with what the OpenAPI document says of it.
pub(crate) struct RouteTable(Vec<Route>);

/// One path.
pub(crate) struct Route {
    /// As the document has it: `/orders/{order_id}`.
    pub(crate) path: String,
    /// Whether operators' tools ask it: it is never turned away, whatever the load and whatever they accept.
    pub(crate) is_ops: bool,
    /// Whether it is the same for everybody, and for long.
    pub(crate) is_page: bool,
    operations: Vec<Operation>,
}

/// One method of a path.
pub(crate) struct Operation {
    method: Method,
    /// The media types of its good answers; none when it may answer with any.
    produces: Vec<&'static str>,
    /// `None` where nobody looks at what is sent.
    inputs: Option<Inputs>,
}

/// What an operation takes.
struct Inputs {
    query: Vec<Parameter>,
    path: Vec<Parameter>,
    /// The names of its headers.
    headers: Vec<String>,
    has_body: bool,
}

/// One parameter.
struct Parameter {
    name: String,
    /// What its value must be, as the rest of a sentence.
    rule: String,
}

impl RouteTable {
    /// The documented paths, and beside them `pages` and `ops`, which have GET alone.
    pub(crate) fn new(apis: Vec<MetaApi>, pages: &[&str], ops: &[&str]) -> Self {
        let mut routes: Vec<Route> = Vec::new();
        for MetaPath { path, operations } in apis.into_iter().flat_map(|api| api.paths) {
            let operations = operations.iter().map(Operation::of);
            // Each struct of operations tells its own, though they share a path.
            match routes.iter_mut().find(|route| route.path == path) {
                Some(route) => route.operations.extend(operations),
                None => routes.push(Route {
                    is_ops: ops.contains(&path.as_str()),
                    is_page: false,
                    operations: operations.collect(),
                    path,
                }),
            }
        }
        for path in pages.iter().chain(ops) {
            if routes.iter().all(|route| route.path != *path) {
                let get = Operation { method: Method::GET, produces: vec![], inputs: None };
                routes.push(Route {
                    path: (*path).to_owned(),
                    is_ops: ops.contains(path),
                    is_page: pages.contains(path),
                    operations: vec![get],
                });
            }
        }
        // A path of names goes before one with a parameter in the same place, as in the router.
        routes.sort_by_cached_key(|route| route.path.replace('{', "\u{7f}"));
        Self(routes)
    }

    /// Where a path leads; empty segments mean nothing.
    pub(crate) fn find(&self, path: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.matches(path))
    }
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        let segments = |path| str::split(path, '/').filter(|segment| !segment.is_empty());
        let (mut pattern, mut path) = (segments(&self.path), segments(path));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(name), Some(segment)) if name == segment || name.starts_with('{') => {}
                _ => return false,
            }
        }
    }

    /// The operation of a method; HEAD is a GET whose body stays here.
    pub(crate) fn operation(&self, method: &Method) -> Result<&Operation, Problem> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.operations.iter().find(|operation| operation.method == *method);
        found.ok_or_else(|| {
            let detail = format!("This path has no such method. It has {}.", self.allow());
            Problem::new(Kind::MethodNotAllowed, detail)
        })
    }

    /// The value of the header `Allow`.
    pub(crate) fn allow(&self) -> String {
        let mut methods: Vec<&str> = self.operations.iter().map(|operation| operation.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.join(", ")
    }
}

impl Operation {
    fn of(operation: &MetaOperation) -> Self {
        let good = operation.responses.responses.iter();
        let good = good.filter(|response| response.status.is_some_and(|status| (200..300).contains(&status)));
        let produces = good.flat_map(|response| &response.content).map(|content| content.content_type).collect();
        let parameters = |position: MetaParamIn| {
            let here = operation.params.iter().filter(move |parameter| parameter.in_type == position);
            here.map(|found| Parameter { name: found.name.clone(), rule: rule(&found.schema) }).collect::<Vec<_>>()
        };
        let inputs = Inputs {
            query: parameters(MetaParamIn::Query),
            path: parameters(MetaParamIn::Path),
            headers: parameters(MetaParamIn::Header).into_iter().map(|header| header.name).collect(),
            has_body: operation.request.is_some(),
        };
        Self { method: operation.method.clone(), produces, inputs: Some(inputs) }
    }

    /// Whether a body is refused here.
    pub(crate) fn takes_no_body(&self) -> bool {
        self.inputs.as_ref().is_some_and(|inputs| !inputs.has_body)
    }

    /// Refuses what this operation cannot answer, and what it does not take.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Problem> {
        if !Preferences::of_media_types(request.headers()).accept(&self.produces) {
            let detail = format!("This operation answers with {}.", self.produces.join(" or "));
            return Err(Problem::new(Kind::NotAcceptable, detail));
        }
        let Some(inputs) = &self.inputs else { return Ok(()) };
        check_headers(request.method(), request.headers(), &inputs.headers)?;
        check_query(request, &inputs.query)
    }

    /// What is to be said when the parameter `name` is invalid; the library does not always know its name.
    pub(crate) fn invalid(&self, name: &str) -> Problem {
        let inputs = self.inputs.as_ref();
        let mut parameters = inputs.into_iter().flat_map(|inputs| inputs.query.iter().chain(&inputs.path));
        let found = parameters.find(|parameter| parameter.name == name);
        let found = found.or_else(|| inputs.and_then(|inputs| inputs.path.first()));
        let detail = match found {
            Some(Parameter { name, rule }) => format!("The parameter `{name}` {rule}."),
            None => format!("The parameter `{name}` has a value that it cannot have."),
        };
        Problem::new(Kind::InvalidParameter, detail)
    }
}

/// Refuses parameters that are not `known`, and those that are given twice.
fn check_query(request: &Request, known: &[Parameter]) -> Result<(), Problem> {
    if request.uri().query().is_none() {
        return Ok(());
    }
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in request.params::<Vec<(String, String)>>().unwrap_or_default() {
        let shown = echo(&name);
        if known.iter().all(|parameter| parameter.name != name) {
            let known: Vec<_> = known.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
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

/// What a value must be, as the document has it.
fn rule(schema: &MetaSchemaRef) -> String {
    let schema = match schema {
        MetaSchemaRef::Inline(schema) => schema,
        MetaSchemaRef::Reference(_) => return NO_RULE.to_owned(),
    };
    let MetaSchema { ty, format, minimum, maximum, min_length, max_length, .. } = **schema;
    match (ty, format, minimum, maximum) {
        ("integer", _, Some(least), Some(most)) => format!("must be an integer from {least} to {most}"),
        ("integer", _, Some(least), None) => format!("must be an integer of at least {least}"),
        ("integer", ..) => "must be an integer".to_owned(),
        ("boolean", ..) => "must be true or false".to_owned(),
        ("string", Some("uuid"), ..) => "must be a UUID".to_owned(),
        ("string", Some("date-time"), ..) => "must be a time of RFC 3339, such as 2030-01-31T08:00:00Z".to_owned(),
        ("string", ..) => match (min_length, max_length) {
            (Some(least), Some(most)) => format!("must have {least} to {most} characters"),
            (None, Some(most)) => format!("must have at most {most} characters"),
            _ => NO_RULE.to_owned(),
        },
        _ => NO_RULE.to_owned(),
    }
}

const NO_RULE: &str = "has a value that it cannot have; GET /docs shows what it takes";

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> RouteTable {
        RouteTable::new(vec![], &["/orders/{order_id}", "/orders/batch", "/orders", "/"], &["/livez"])
    }

    #[test]
    fn a_path_leads_to_the_route_with_the_most_names_and_slashes_mean_nothing() {
        for (path, route) in [
            ("/orders/17", Some("/orders/{order_id}")),
            ("/orders/batch", Some("/orders/batch")),
            ("//orders//batch/", Some("/orders/batch")),
            ("/orders/", Some("/orders")),
            ("/", Some("/")),
            ("/orders/17/18", None),
            ("/Orders", None),
        ] {
            assert_eq!(routes().find(path).map(|route| route.path.as_str()), route, "{path}");
        }
    }

    #[test]
    fn what_tools_ask_is_known_as_such() {
        let is_ops = |path| routes().find(path).is_some_and(|route| route.is_ops);

        assert!(is_ops("/livez"));
        assert!(!is_ops("/orders"));
    }
}
