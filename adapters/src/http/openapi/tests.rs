//! The document against the router and the error table.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::http::outer::Route;
use crate::http::problem::Code;
use crate::http::routes;

/// What shows the description to people is not part of it.
fn is_for_browsers(route: Route) -> bool {
    route.is_of_the_console() || matches!(route, Route::Docs | Route::DocsScript | Route::DocsStyle)
}

#[test]
fn every_route_that_is_described_is_routed_and_the_other_way_round() {
    let described: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|operation| operation.route.template())
        .collect();
    let routed: BTreeSet<_> = routes()
        .into_iter()
        .map(|(route, _)| route)
        .filter(|route| !is_for_browsers(*route))
        .map(Route::template)
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
                Value::String(at) if key == "$ref" => found.push(at),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for at in found {
        let pointer = at.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{at} leads nowhere");
    }
}

#[test]
fn every_error_code_is_somebodys() {
    let text = document()["paths"].to_string();
    // These are the router's own: there is no operation at such a path or method.
    let routers = [Code::RouteNotFound, Code::MethodNotAllowed];
    for code in Code::ALL.iter().filter(|code| !routers.contains(code)) {
        let named = format!("`{}`", code.name());
        assert!(text.contains(&named), "no operation names {named}");
    }
}

#[test]
fn what_goes_on_with_a_trace_says_so() {
    let at = "#/components/parameters/Traceparent";
    for operation in OPERATIONS {
        let described = operation.document();
        let taken = described["parameters"].as_array().expect("parameters");
        let is_named = taken.iter().any(|taken| taken["$ref"] == at);
        let route = operation.route;
        let is_none = [Route::Events, Route::StripeWebhook].contains(&route)
            || described["tags"][0] == "process";
        assert_eq!(is_named, !is_none, "{}", route.template());
    }
}

#[test]
fn operations_have_ids_of_their_own_and_every_parameter_of_their_path() {
    let document = document();
    let mut ids = BTreeSet::new();
    for operation in OPERATIONS {
        let described = operation.document();
        let id = described["operationId"].as_str().expect("an id").to_owned();
        let template = operation.route.template();
        for part in template.split('/').filter(|part| part.starts_with('{')) {
            let name = part.trim_matches(['{', '}']);
            let at = format!("#/components/parameters/{name}");
            let taken = described["parameters"].as_array().expect("parameters");
            assert!(
                taken.iter().any(|taken| taken["$ref"] == at.as_str()),
                "{id} lacks {name}"
            );
            assert!(
                document["components"]["parameters"][name].is_object(),
                "{name}"
            );
        }
        assert!(ids.insert(id.clone()), "{id} is there twice");
    }
}
