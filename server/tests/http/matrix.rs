//! Every route × method × credentials × Host, Origin and Sec-Fetch values, against a table that is written out here.
//!
//! The table names each route with the access it needs and the status of a bare request that is let in. It is compared with the API's own
//! description and with the dashboard's routes, so a route that is added, or whose access is changed, fails here until somebody has
//! said what is expected of it. What a cell must answer follows from its row, its credentials and its headers by [`expected`], which
//! knows nothing of the server's code.
//!
//! All credentials meet one sender of each kind, and all senders the usual credentials; with `TRAINYARD_SIEGE=1` everything meets
//! everything.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::access::sign_in;
use super::world::{Answer, World};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    Public,
    /// Anyone who is known.
    Known,
    /// Anyone who is known and has a scope that a session can have.
    SigningIn,
    Read,
    Submit,
    Worker,
    Admin,
}

use Access::{Admin, Known, Public, Read, SigningIn, Submit, Worker};

/// Method, path as documented, access, and what a request without a body and with parameters that name nothing is answered once it is
/// let in.
const TABLE: &[(&str, &str, Access, u16)] = &[
    ("GET", "/", Public, 200),
    ("GET", "/assets/{path}", Public, 404),
    ("GET", "/healthz", Public, 200),
    ("GET", "/readyz", Public, 200),
    ("GET", "/metrics", Read, 200),
    ("GET", "/docs", Read, 308),
    ("GET", "/docs/", Read, 200),
    ("GET", "/docs/{path}", Read, 404),
    ("GET", "/v1/openapi.json", Read, 200),
    ("POST", "/v1/jobs", Submit, 415),
    ("GET", "/v1/jobs", Read, 200),
    ("GET", "/v1/jobs/{id}", Read, 404),
    ("POST", "/v1/jobs/{id}/cancel", Submit, 404),
    ("POST", "/v1/jobs/{id}/pause", Submit, 404),
    ("POST", "/v1/jobs/{id}/resume", Submit, 404),
    ("POST", "/v1/jobs/{id}/retry", Submit, 404),
    ("GET", "/v1/runs", Read, 200),
    ("POST", "/v1/runs", Submit, 415),
    ("POST", "/v1/runs/{id}/metrics", Submit, 415),
    ("POST", "/v1/runs/{id}/params", Submit, 415),
    ("PUT", "/v1/runs/{id}/artifacts/{name}", Submit, 404),
    ("POST", "/v1/runs/{id}/finish", Submit, 415),
    ("GET", "/v1/runs/{id}", Read, 404),
    ("PATCH", "/v1/runs/{id}", Submit, 415),
    ("DELETE", "/v1/runs/{id}", Submit, 404),
    ("POST", "/v1/runs/{id}/restore", Submit, 404),
    ("POST", "/v1/runs/actions", Submit, 415),
    ("GET", "/v1/projects", Read, 200),
    ("GET", "/v1/views", Read, 200),
    ("PUT", "/v1/views/{name}", Submit, 415),
    ("DELETE", "/v1/views/{name}", Submit, 404),
    ("GET", "/v1/runs/{id}/events", Read, 404),
    ("GET", "/v1/runs/{id}/logs", Read, 404),
    ("GET", "/v1/runs/{id}/verify", Read, 404),
    ("POST", "/v1/runs/{id}/verify", Submit, 404),
    ("POST", "/v1/runs/{id}/colourize", Submit, 404),
    ("GET", "/v1/runs/{id}/colourized", Read, 404),
    ("GET", "/v1/events", Read, 404),
    ("GET", "/v1/runs/{id}/theory", Read, 404),
    ("GET", "/v1/runs/{id}/queue", Read, 404),
    ("GET", "/v1/runs/{id}/certificates", Read, 404),
    ("GET", "/v1/runs/{id}/metrics", Read, 404),
    ("GET", "/v1/runs/{id}/artifacts", Read, 404),
    ("GET", "/v1/runs/{id}/artifacts/{name}", Read, 404),
    ("POST", "/v1/runs/{id}/cancel", Submit, 404),
    ("POST", "/v1/runs/{id}/pause", Submit, 404),
    ("POST", "/v1/runs/{id}/resume", Submit, 404),
    ("POST", "/v1/runs/{id}/retry", Submit, 404),
    ("GET", "/v1/runs/{id}/charts", Read, 404),
    ("GET", "/v1/runs/{id}/charts/{name}", Read, 404),
    ("GET", "/v1/compare", Read, 400),
    ("GET", "/v1/compare/charts/{name}", Read, 404),
    ("POST", "/v1/datasets", Submit, 415),
    ("GET", "/v1/datasets", Read, 200),
    ("GET", "/v1/datasets/{name}", Read, 404),
    ("GET", "/v1/workers", Read, 200),
    ("POST", "/v1/tools/network", Read, 415),
    ("POST", "/v1/tools/convolution", Read, 415),
    ("POST", "/v1/tokens", Admin, 415),
    ("GET", "/v1/tokens", Admin, 200),
    ("DELETE", "/v1/tokens/{id}", Admin, 404),
    ("POST", "/v1/backups", Admin, 200),
    ("POST", "/v1/retention", Admin, 415),
    ("POST", "/v1/webhooks", Admin, 415),
    ("GET", "/v1/webhooks", Admin, 200),
    ("GET", "/v1/webhooks/{id}", Admin, 404),
    ("DELETE", "/v1/webhooks/{id}", Admin, 404),
    ("POST", "/v1/webhooks/{id}/test", Admin, 404),
    ("GET", "/v1/webhooks/{id}/deliveries", Admin, 404),
    ("POST", "/v1/session", SigningIn, 200),
    ("GET", "/v1/session", Known, 200),
    ("DELETE", "/v1/session", Known, 204),
    ("POST", "/api/2.0/mlflow/experiments/create", Submit, 415),
    ("GET", "/api/2.0/mlflow/experiments/get", Read, 400),
    ("GET", "/api/2.0/mlflow/experiments/get-by-name", Read, 400),
    ("POST", "/api/2.0/mlflow/experiments/search", Read, 415),
    ("POST", "/api/2.0/mlflow/experiments/update", Submit, 415),
    ("POST", "/api/2.0/mlflow/experiments/delete", Submit, 415),
    ("POST", "/api/2.0/mlflow/experiments/restore", Submit, 415),
    ("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", Submit, 415),
    ("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/create", Submit, 415),
    ("GET", "/api/2.0/mlflow/runs/get", Read, 422),
    ("POST", "/api/2.0/mlflow/runs/search", Read, 415),
    ("POST", "/api/2.0/mlflow/runs/update", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/delete", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/restore", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/set-tag", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/delete-tag", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/log-parameter", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/log-metric", Submit, 415),
    ("POST", "/api/2.0/mlflow/runs/log-batch", Submit, 415),
    ("GET", "/api/2.0/mlflow/metrics/get-history", Read, 400),
    ("POST", "/api/2.0/mlflow/logged-models/search", Read, 415),
    ("GET", "/api/2.0/mlflow/artifacts/list", Read, 404),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts", Read, 404),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/{path}", Read, 404),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{path}", Submit, 404),
    ("POST", "/v1/worker/register", Worker, 415),
    ("POST", "/v1/worker/claims", Worker, 415),
    ("POST", "/v1/worker/heartbeats", Worker, 415),
    ("POST", "/v1/worker/runs/{id}/reports", Worker, 415),
    ("POST", "/v1/worker/reports", Worker, 415),
    ("PUT", "/v1/worker/runs/{id}/artifacts/{name}", Worker, 400),
    ("GET", "/v1/worker/runs/{id}/artifacts/{name}", Worker, 400),
    ("GET", "/v1/worker/datasets/{name}", Worker, 404),
    ("GET", "/v1/worker/datasets/{name}/files/{sha256}", Worker, 404),
];

/// Methods that are tried at every path.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// What a request proves about its sender.
#[derive(Clone, Debug)]
struct Credentials {
    /// For the message of a cell that fails.
    #[allow(dead_code)]
    what: &'static str,
    header: Option<(&'static str, String)>,
    /// None: nobody is known by them.
    scopes: Option<&'static [&'static str]>,
    by_cookie: bool,
    is_usual: bool,
}

impl Credentials {
    /// The rule of the scopes: admin is all of them, a session is never a worker's.
    fn may(&self, access: Access) -> bool {
        let Some(scopes) = self.scopes else { return access == Public };
        let has = |scope: &str| (scopes.contains(&scope) || scopes.contains(&"admin")) && !(self.by_cookie && scope == "worker");
        match access {
            Public | Known => true,
            SigningIn => self.by_cookie || ["read", "submit", "admin"].into_iter().any(has),
            Read => has("read"),
            Submit => has("submit"),
            Worker => has("worker"),
            Admin => has("admin"),
        }
    }
}

/// Headers that a browser sets, and whose page they say it was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    /// No browser, or a page of the server.
    Itself,
    /// A page of another port of this machine: a token lets it in, a session does not let it change anything.
    Neighbour,
    /// Somebody else.
    Stranger,
    /// Somebody else, who links here.
    Link,
}

const HEADERS: &[(From, &[(&str, &str)])] = &[
    (From::Itself, &[]),
    (From::Itself, &[("host", "localhost:{port}")]),
    (From::Itself, &[("host", "[::1]")]),
    (From::Itself, &[("host", "box.example.org")]),
    (From::Itself, &[("origin", "http://127.0.0.1:{port}"), ("sec-fetch-site", "same-origin")]),
    (From::Itself, &[("host", "localhost:9"), ("origin", "http://localhost:9")]),
    (From::Neighbour, &[("origin", "http://127.0.0.1:1")]),
    (From::Neighbour, &[("origin", "http://localhost:{port}")]),
    (From::Neighbour, &[("sec-fetch-site", "same-site")]),
    (From::Neighbour, &[("sec-fetch-site", "none")]),
    (From::Stranger, &[("host", "evil.example")]),
    (From::Stranger, &[("host", "localhost.evil.example")]),
    (From::Stranger, &[("host", "10.0.0.1")]),
    (From::Stranger, &[("host", "")]),
    (From::Stranger, &[("origin", "http://evil.example")]),
    (From::Stranger, &[("origin", "null")]),
    (From::Stranger, &[("origin", "http://localhost@evil.example")]),
    (From::Stranger, &[("sec-fetch-site", "cross-site")]),
    (From::Stranger, &[("origin", "http://127.0.0.1:{port}"), ("sec-fetch-site", "cross-site")]),
    (From::Link, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]),
];

/// What a cell must answer. `row` is the table's where there is one for the method.
fn expected(method: &str, path: &str, credentials: &Credentials, from: From) -> u16 {
    let rows = || TABLE.iter().filter(|row| row.1 == path);
    // A resource that can be fetched can be asked for its head.
    let asked = if method == "HEAD" { "GET" } else { method };
    let row = rows().find(|row| row.0 == asked);
    let is_public = rows().all(|row| row.2 == Public);
    let linked = from == From::Link && method == "GET" && path == "/";
    if from == From::Stranger || (from == From::Link && !linked) {
        return 403;
    }
    if is_public {
        return row.map_or(405, |row| row.3);
    }
    if credentials.scopes.is_none() {
        return 401;
    }
    let changes = !matches!(method, "GET" | "HEAD" | "OPTIONS");
    if credentials.by_cookie && changes && from == From::Neighbour {
        return 403;
    }
    match row {
        None => 405,
        Some(row) if !credentials.may(row.2) => 403,
        Some(row) => row.3,
    }
}

fn concrete(path: &str) -> String {
    // A stream of all runs would never end.
    let path = if path == "/v1/events" { "/v1/events?runs=999999" } else { path };
    path.replace("{id}", "999999").replace("{name}", "nothing").replace("{sha256}", "00").replace("{path}", "nothing")
}

async fn all_credentials(world: &World) -> Vec<Credentials> {
    let token = |what, header: String, scopes| Credentials {
        what,
        header: Some(("authorization", header)),
        scopes,
        by_cookie: false,
        is_usual: false,
    };
    let made = async |body| world.post("/v1/tokens", &body).await.expect(StatusCode::CREATED);
    let secret = |created: &serde_json::Value| created["token"].as_str().unwrap().to_owned();

    let revoked = made(json!({"name": "revoked", "scopes": ["admin"]})).await;
    let revoked_session = sign_in(world, &secret(&revoked)).await.0;
    let gone = Answer::of(world.request(Method::DELETE, &format!("/v1/tokens/{}", revoked["id"]))).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let expired = made(json!({"name": "expired", "scopes": ["admin"], "expires_in_seconds": 1})).await;
    let expired_session = sign_in(world, &secret(&expired)).await.0;
    while Answer::of(world.bare(Method::GET, "/v1/runs").bearer_auth(secret(&expired))).await.status == StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let mut all = vec![
        Credentials { what: "none", header: None, scopes: None, by_cookie: false, is_usual: true },
        token("garbage", "Bearer ty_garbage".to_owned(), None),
        token("an empty token", "Bearer ".to_owned(), None),
        token("another scheme", format!("Basic {}", world.admin()), None),
        token("no scheme", world.admin().to_owned(), None),
        token("two tokens in one", format!("Bearer {0} {0}", world.admin()), None),
        token("a token of the right length", format!("Bearer ty_{}", "A".repeat(43)), None),
        token("revoked", format!("Bearer {}", secret(&revoked)), None),
        token("expired", format!("Bearer {}", secret(&expired)), None),
    ];
    let cookie =
        |what, cookie: String, scopes| Credentials { what, header: Some(("cookie", cookie)), scopes, by_cookie: true, is_usual: false };
    all.push(cookie("a made-up session", "trainyard_session=ty_made_up".to_owned(), None));
    all.push(cookie("a token as a session", format!("trainyard_session={}", world.admin()), None));
    all.push(cookie("the session of a revoked token", revoked_session, None));
    all.push(cookie("the session of an expired token", expired_session, None));
    for (what, scopes) in [
        ("read", &["read"] as &'static [&'static str]),
        ("submit", &["submit"]),
        ("worker", &["worker"]),
        ("admin", &["admin"]),
        ("read and worker", &["read", "worker"]),
    ] {
        let made = world.token(scopes).await;
        let is_usual = matches!(what, "read" | "admin");
        all.push(Credentials { is_usual, ..token(what, format!("Bearer {made}"), Some(scopes)) });
        if scopes != ["worker"] {
            all.push(Credentials { is_usual, ..cookie(what, sign_in(world, &made).await.0, Some(scopes)) });
        }
    }
    all
}

#[tokio::test]
async fn the_table_has_every_route_that_there_is_and_no_other() {
    let world = World::start().await;
    let document = world.get("/v1/openapi.json").await.expect(StatusCode::OK);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.is_object() {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    // The dashboard's own files are no part of the API.
    for path in ["/", "/assets/{path}"] {
        documented.insert(("GET".to_owned(), path.to_owned()));
    }
    let listed: BTreeSet<_> = TABLE.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    assert_eq!(listed.len(), TABLE.len(), "a route is listed twice");
    let missing: Vec<_> = documented.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&documented).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; not in the API: {gone:?}");
}

#[tokio::test]
async fn every_cell_of_routes_methods_credentials_and_origins_answers_as_the_table_says() {
    let world = World::start_with(|config| config.allowed_hosts = vec!["box.example.org".to_owned()]).await;
    let credentials = all_credentials(&world).await;
    let port = world.server().address().port().to_string();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let paths: BTreeSet<&str> = TABLE.iter().map(|row| row.1).collect();
    let all = std::env::var_os("TRAINYARD_SIEGE").is_some();
    let mut cells = Vec::new();
    for path in paths {
        for method in METHODS {
            for credentials in &credentials {
                for (from, headers) in HEADERS {
                    let listed = TABLE.iter().any(|row| (row.0, row.1) == (method, path));
                    let first = HEADERS.iter().find(|(kind, _)| kind == from).is_some_and(|(_, first)| first == headers);
                    let asked = match listed {
                        true => first || credentials.is_usual,
                        false => first && credentials.is_usual,
                    };
                    if !asked && !all {
                        continue;
                    }
                    // Signing out ends the session that the other cells need; it has a test of its own.
                    let signs_out = method == "DELETE" && path == "/v1/session" && credentials.by_cookie;
                    if !signs_out || expected(method, path, credentials, *from) != 204 {
                        cells.push((path, method, credentials, *from, *headers));
                    }
                }
            }
        }
    }
    let count = cells.len();
    let asked = cells.into_iter().map(|(path, method, credentials, from, headers)| {
        let (world, http, port) = (&world, &http, &port);
        async move {
            let mut request = http.request(method.parse().unwrap(), world.url(&concrete(path)));
            for (name, value) in headers {
                request = request.header(*name, value.replace("{port}", port));
            }
            if let Some((name, value)) = &credentials.header {
                request = request.header(*name, value);
            }
            let answer = Answer::of(request).await;
            let cell = || format!("{method} {path} with {credentials:?} and {headers:?}");
            let wanted = expected(method, path, credentials, from);
            // Backups are made one at a time.
            let busy = path == "/v1/backups" && wanted == 200 && answer.status == StatusCode::SERVICE_UNAVAILABLE;
            assert!(answer.status.as_u16() == wanted || busy, "{}: {} and not {wanted}", cell(), answer.status);
            if answer.status.is_client_error() && method != "HEAD" {
                answer.refusal(path);
            }
            let allowed = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
            assert_eq!(allowed, 0, "{}: another origin may read the answer", cell());
        }
    });
    let answered = futures::stream::iter(asked).buffer_unordered(8).count().await;
    assert_eq!(answered, count);
    println!("{count} cells");
    assert!(count > 10_000, "{count} cells");
}
