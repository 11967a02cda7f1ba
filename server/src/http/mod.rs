//! The HTTP API: its routes, who may use them, and what an error looks like.
//!
//! [`endpoints`] is the one table of routes with the access that each needs ([`endpoints::Endpoints`] says why nothing can be left out of it).
//! [`router`] wraps it, from the outside in: a request's id and log ([`request_id`]), problem bodies ([`problem`]), security headers ([`headers`]), panics,
//! foreign hosts and origins ([`origin`]), slow bodies, authentication ([`credentials`]). Handlers hold no rules of their own: they read the request, ask the
//! [`Store`](crate::store::Store), and write the answer.

mod access;
mod actions;
mod annotations;
pub(crate) mod answers;
pub(crate) mod app;
mod artifacts;
mod backups;
mod charts;
mod colourize;
mod compare;
mod conditional;
pub(crate) mod connections;
pub(crate) mod credentials;
mod cursor;
mod dashboard;
mod datasets;
pub(crate) mod documentation;
pub(crate) mod endpoints;
mod event_ids;
mod events;
mod examples;
mod external;
mod extract;
mod headers;
mod health;
mod history;
mod jobs;
mod listing;
mod mlflow;
pub(crate) mod origin;
mod pace;
mod paging;
mod prefer;
mod problem;
mod request_id;
mod retention;
mod runs;
pub(crate) mod sessions;
mod tools;
mod verification;
mod views;
mod webhooks;
mod worker_protocol;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use trainyard_faults::Place;
use trainyard_wire::token::Scope;
use utoipa_axum::routes;

use app::Shared;
use endpoints::{Access, Endpoints};
use origin::HostPolicy;
use pace::Pace;
use problem::ApiError;

/// All routes of the API with the access they need.
pub(crate) fn endpoints() -> Endpoints {
    use Access::{Authenticated, Public};
    const READ: Access = Access::Scoped(Scope::Read);
    const SUBMIT: Access = Access::Scoped(Scope::Submit);
    const WORKER: Access = Access::Scoped(Scope::Worker);
    const ADMIN: Access = Access::Scoped(Scope::Admin);

    Endpoints::new(documentation::base())
        .add(Public, routes!(health::healthz))
        .add(Public, routes!(health::readyz))
        .add(READ, routes!(health::metrics))
        .add(SUBMIT, routes!(jobs::submit))
        .add(READ, routes!(jobs::list))
        .add(READ, routes!(jobs::get))
        .add(SUBMIT, routes!(actions::cancel_job))
        .add(SUBMIT, routes!(actions::pause_job))
        .add(SUBMIT, routes!(actions::resume_job))
        .add(SUBMIT, routes!(actions::retry_job))
        .add(READ, routes!(listing::list))
        .add(SUBMIT, routes!(annotations::act))
        .add(SUBMIT, routes!(external::open))
        .add(SUBMIT, routes!(external::log_metrics))
        .add(SUBMIT, routes!(external::set_params))
        .add(SUBMIT, routes!(external::put_artifact))
        .add(SUBMIT, routes!(external::finish))
        .add_shared(routes!(runs::get))
        .add(SUBMIT, routes!(annotations::patch))
        .add(SUBMIT, routes!(annotations::delete))
        .add(SUBMIT, routes!(annotations::restore))
        .add(READ, routes!(listing::projects))
        .add(READ, routes!(views::list))
        .add(SUBMIT, routes!(views::put))
        .add(SUBMIT, routes!(views::delete))
        .add_shared(routes!(runs::events))
        .add_shared(routes!(runs::logs))
        .add_shared(routes!(runs::theory))
        .add(READ, routes!(runs::queue))
        .add_shared(routes!(runs::certificates))
        .add(READ, routes!(events::stream))
        .add_shared(routes!(history::get))
        .add_shared(routes!(artifacts::list))
        .add(READ, routes!(artifacts::get))
        .add(SUBMIT, routes!(actions::cancel_run))
        .add(SUBMIT, routes!(actions::pause_run))
        .add(SUBMIT, routes!(actions::resume_run))
        .add(SUBMIT, routes!(actions::retry_run))
        .add(SUBMIT, routes!(verification::verify))
        .add(READ, routes!(verification::get))
        .add(SUBMIT, routes!(colourize::colourize))
        .add(READ, routes!(colourize::list))
        .add_shared(routes!(charts::list))
        .add_shared(routes!(charts::run))
        .add_shared(routes!(charts::compare))
        .add_shared(routes!(compare::get))
        .add(SUBMIT, routes!(datasets::upload))
        .add(READ, routes!(datasets::list))
        .add(READ, routes!(datasets::get))
        .add(READ, routes!(health::workers))
        .add(READ, routes!(tools::network))
        .add(READ, routes!(tools::convolution))
        .add(ADMIN, routes!(access::create))
        .add(ADMIN, routes!(access::list))
        .add(ADMIN, routes!(access::revoke))
        .add(ADMIN, routes!(backups::create))
        .add(ADMIN, routes!(retention::prune))
        .add(ADMIN, routes!(webhooks::create))
        .add(ADMIN, routes!(webhooks::list))
        .add(ADMIN, routes!(webhooks::get))
        .add(ADMIN, routes!(webhooks::delete))
        .add(ADMIN, routes!(webhooks::test))
        .add(ADMIN, routes!(webhooks::deliveries))
        .add(Authenticated, routes!(access::sign_in))
        .add(Authenticated, routes!(access::session))
        .add(Authenticated, routes!(access::sign_out))
        .add(SUBMIT, routes!(mlflow::experiments::create))
        .add(READ, routes!(mlflow::experiments::get))
        .add(READ, routes!(mlflow::experiments::get_by_name))
        .add(READ, routes!(mlflow::experiments::search))
        .add(SUBMIT, routes!(mlflow::experiments::update))
        .add(SUBMIT, routes!(mlflow::experiments::delete))
        .add(SUBMIT, routes!(mlflow::experiments::restore))
        .add(SUBMIT, routes!(mlflow::experiments::set_tag))
        .add(SUBMIT, routes!(mlflow::experiments::delete_tag))
        .add(SUBMIT, routes!(mlflow::runs::create))
        .add(READ, routes!(mlflow::runs::get))
        .add(READ, routes!(mlflow::search::runs))
        .add(SUBMIT, routes!(mlflow::runs::update))
        .add(SUBMIT, routes!(mlflow::runs::delete))
        .add(SUBMIT, routes!(mlflow::runs::restore))
        .add(SUBMIT, routes!(mlflow::runs::set_tag))
        .add(SUBMIT, routes!(mlflow::runs::delete_tag))
        .add(SUBMIT, routes!(mlflow::runs::log_parameter))
        .add(SUBMIT, routes!(mlflow::runs::log_metric))
        .add(SUBMIT, routes!(mlflow::runs::log_batch))
        .add(READ, routes!(mlflow::history::get))
        .add(READ, routes!(mlflow::models::search))
        .add(READ, routes!(mlflow::artifacts::list))
        .add(READ, routes!(mlflow::artifacts::list_proxied))
        .add(READ, routes!(mlflow::artifacts::download))
        .add(SUBMIT, routes!(mlflow::artifacts::upload))
        .add(WORKER, routes!(worker_protocol::register))
        .add(WORKER, routes!(worker_protocol::claim))
        .add(WORKER, routes!(worker_protocol::heartbeat))
        .add(WORKER, routes!(worker_protocol::report))
        .add(WORKER, routes!(worker_protocol::report_all))
        .add(WORKER, routes!(worker_protocol::put_artifact))
        .add(WORKER, routes!(worker_protocol::held_artifact))
        .add(WORKER, routes!(worker_protocol::dataset))
        .add(WORKER, routes!(worker_protocol::dataset_file))
        .add(READ, routes!(documentation::openapi))
        .add(READ, routes!(documentation::entry))
        .add(READ, routes!(documentation::page))
        .add(READ, routes!(documentation::asset))
}

/// The service that answers requests.
pub(crate) fn router(endpoints: Endpoints, app: Shared, hosts: HostPolicy) -> Router {
    let pace = Pace::new(app.limits.patience);
    let router = endpoints
        .protected
        .fallback(no_route)
        // Over the fallback as well: without a token nobody learns which routes there are.
        .layer(middleware::from_fn_with_state(app.clone(), authenticate))
        .merge(endpoints.public)
        .merge(dashboard::routes())
        // Handlers bound their bodies themselves, each by its own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(pace, pace::pace_body))
        .layer(middleware::from_fn_with_state(hosts, origin::check));
    let router = if trainyard_faults::INJECTS { router.layer(middleware::from_fn(reply)) } else { router };
    router
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn(headers::secure))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(request_id::assign))
        .with_state(app)
}

async fn authenticate(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    match app.credentials.identify(request.method(), request.headers()) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            // Layers on single routes find it there.
            request.extensions_mut().insert(app);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Between doing what was asked and saying so, for tests.
async fn reply(request: Request, next: Next) -> Response {
    let reads = request.method().is_safe();
    let response = next.run(request).await;
    if reads { Ok(()) } else { trainyard_faults::at(Place::ReplyBefore) }
        .map_or_else(|error| ApiError::internal(error).into_response(), |()| response)
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::NoRoute(uri.path().to_owned())
}
