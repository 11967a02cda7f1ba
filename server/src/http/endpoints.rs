//! The one table of routes.
//!
//! A route is added with the access it needs and cannot be added without; its path, method and query parameters come from the `#[utoipa::path]`
//! that documents its handler. So the router, the scopes, the refusal of unknown query parameters and the OpenAPI document are the same
//! thing seen from four sides.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::problem::CONTENT_TYPE;
use trainyard_wire::token::Scope;
use trainyard_wire::{FieldError, Problem};
use utoipa::ToSchema as _;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::UtoipaMethodRouter;

use super::answers;
use super::app::Shared;
use super::credentials::Identity;
use super::problem::{ApiError, MLFLOW_ERROR_TYPE, MlflowError, is_mlflow};
use super::request_id;

/// What a route asks of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Public,
    /// Any valid token or session.
    Authenticated,
    /// A token or session with this scope.
    Scoped(Scope),
}

impl Access {
    /// As the document tells it: under the security scheme `token`, the scopes.
    fn requirements(self) -> Vec<SecurityRequirement> {
        match self {
            Self::Public => Vec::new(),
            Self::Authenticated => vec![SecurityRequirement::new("token", Vec::<String>::new())],
            Self::Scoped(scope) => vec![SecurityRequirement::new("token", [scope.as_str()])],
        }
    }
}

impl Access {
    /// The problems that every route of this access may answer with.
    fn refusals(self) -> &'static [(&'static str, &'static str)] {
        const OTHER: (&str, &str) = ("default", "Any other problem");
        const FOREIGN: (&str, &str) = ("403", "The scope is missing, or the request comes from a foreign host or origin");
        match self {
            Self::Public => &[FOREIGN, OTHER],
            Self::Authenticated | Self::Scoped(_) => {
                &[("401", "No credentials, or none that are known, unexpired and unrevoked"), FOREIGN, OTHER]
            }
        }
    }
}

/// An error of a route at `path`, as `render` writes it.
fn error_of(path: &str, description: &str) -> RefOr<utoipa::openapi::Response> {
    let (content_type, schema) = if is_mlflow(path) { (MLFLOW_ERROR_TYPE, MlflowError::name()) } else { (CONTENT_TYPE, Problem::name()) };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    RefOr::T(ResponseBuilder::new().description(description).content(content_type, content).build())
}

/// Routes, collected.
pub(crate) struct Endpoints {
    pub(crate) public: Router<Shared>,
    pub(crate) protected: Router<Shared>,
    pub(crate) openapi: OpenApi,
}

impl Endpoints {
    pub(crate) fn new(openapi: OpenApi) -> Self {
        Self { public: Router::new(), protected: Router::new(), openapi }
    }

    /// Adds handlers that answer from the store alone, for whoever may read: those who ask the same share an answer.
    pub(crate) fn add_shared(self, (schemas, paths, routes): UtoipaMethodRouter<Shared>) -> Self {
        self.add(Access::Scoped(Scope::Read), (schemas, paths, routes.route_layer(middleware::from_fn(answers::share))))
    }

    /// Adds the handlers of one path, as `routes!(…)` gives them.
    pub(crate) fn add(mut self, access: Access, (schemas, paths, routes): UtoipaMethodRouter<Shared>) -> Self {
        let mut allowed = BTreeSet::new();
        let mut axum_path = None;
        for (path, mut item) in paths.paths {
            let documented = path.replace("{*", "{");
            for operation in operations(&mut item) {
                allowed.extend(query_parameters(operation));
                operation.security = Some(access.requirements());
                for (status, description) in access.refusals() {
                    operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| error_of(&path, description));
                }
            }
            self.openapi.paths.paths.entry(documented).or_default().merge_operations(item);
            axum_path = Some(path);
        }
        let components = self.openapi.components.get_or_insert_with(Default::default);
        components.schemas.extend(schemas);

        let allowed = Arc::new(allowed);
        let routes = routes
            .route_layer(middleware::from_fn(move |request, next| refuse_unknown_parameters(Arc::clone(&allowed), request, next)))
            .route_layer(middleware::from_fn(move |request, next| authorize(access, request, next)))
            .route_layer(middleware::from_fn(request_id::note_route));
        // `routes!` of at least one handler has a path.
        let path = axum_path.unwrap_or_default();
        match access {
            Access::Public => self.public = self.public.route(&path, routes),
            Access::Authenticated | Access::Scoped(_) => self.protected = self.protected.route(&path, routes),
        }
        self
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn query_parameters(operation: &Operation) -> impl Iterator<Item = String> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        _ => None,
    })
}

/// 403 unless the sender, who is known by now, has the scope.
async fn authorize(access: Access, request: Request, next: Next) -> Response {
    if let Access::Scoped(scope) = access {
        match request.extensions().get::<Identity>() {
            Some(identity) if identity.may(scope) => {}
            Some(_) => return ApiError::Forbidden(scope).into_response(),
            None => return ApiError::Unauthorized("a token is needed: `Authorization: Bearer …`").into_response(),
        }
    }
    next.run(request).await
}

async fn refuse_unknown_parameters(allowed: Arc<BTreeSet<String>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let errors: Vec<FieldError> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !allowed.contains(name.as_ref()))
        .map(|(name, _)| FieldError { pointer: format!("?{name}"), detail: unknown(&allowed) })
        .collect();
    if errors.is_empty() { next.run(request).await } else { ApiError::Query(errors).into_response() }
}

fn unknown(allowed: &BTreeSet<String>) -> String {
    if allowed.is_empty() {
        return "no query parameter is known here".to_owned();
    }
    let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
    format!("is not known here; known are {}", names.join(", "))
}
