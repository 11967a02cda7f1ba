//! Who may do what: tokens, scopes, sessions.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, World};

/// The routes as the API's own description lists them: method, path, scope (`None`: public; `""`: any token).
async fn routes(world: &World) -> Vec<(Method, String, Option<String>)> {
    let document = world.get("/v1/openapi.json").await.expect(StatusCode::OK);
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            if !operation.is_object() {
                continue;
            }
            let scope = operation["security"].as_array().unwrap().first().map(|requirement| {
                requirement["token"].as_array().unwrap().first().map_or_else(String::new, |scope| scope.as_str().unwrap().to_owned())
            });
            let path =
                path.replace("{id}", "999999").replace("{name}", "nothing").replace("{sha256}", "00").replace("{path}", "index.html");
            routes.push((method, path, scope));
        }
    }
    routes
}

#[tokio::test]
async fn every_route_asks_for_its_scope_and_for_no_other() {
    let world = World::start().await;
    let routes = routes(&world).await;
    assert!(routes.len() > 40, "{} routes", routes.len());
    for wanted in ["/v1/jobs", "/v1/runs/999999", "/v1/worker/claims", "/v1/tokens", "/metrics", "/docs/"] {
        assert!(routes.iter().any(|(_, path, scope)| path == wanted && scope.is_some()), "{wanted} is not listed or public");
    }
    let mut tokens = Vec::new();
    for scope in ["read", "submit", "worker"] {
        tokens.push((scope, world.token(&[scope]).await));
    }
    for (method, path, scope) in &routes {
        let status = async |token: Option<&str>| {
            let request = world.bare(method.clone(), path);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let response = request.send().await.unwrap();
            let status = response.status();
            // What is no error may be a stream without an end.
            if status.is_client_error() {
                Answer::read(response).await.refusal(path);
            }
            status
        };
        let none = status(None).await;
        let Some(scope) = scope else {
            assert_eq!(none, StatusCode::OK, "{method} {path} is public");
            continue;
        };
        assert_eq!(none, StatusCode::UNAUTHORIZED, "{method} {path} without a token");
        assert_eq!(status(Some("ty_unknown")).await, StatusCode::UNAUTHORIZED, "{method} {path} with an unknown token");
        for (held, token) in &tokens {
            let found = status(Some(token)).await;
            // Signing in needs a scope that a session can have.
            let may = held == scope || (scope.is_empty() && (*held != "worker" || *path != "/v1/session" || *method != Method::POST));
            if may {
                assert!(!matches!(found, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), "{method} {path} with {held}: {found}");
            } else {
                assert_eq!(found, StatusCode::FORBIDDEN, "{method} {path} with {held}");
            }
        }
        let found = status(Some(world.admin())).await;
        assert!(!matches!(found, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), "{method} {path} with admin: {found}");
    }
}

#[tokio::test]
async fn without_a_token_nobody_learns_which_routes_there_are() {
    let world = World::start().await;
    for (method, path) in
        [(Method::GET, "/v1/nothing"), (Method::DELETE, "/v1/runs"), (Method::GET, "/admin"), (Method::POST, "/v1/runs/1")]
    {
        let answer = Answer::of(world.bare(method, path)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
        answer.problem();
    }
    for path in ["/", "/healthz", "/readyz", "/assets/plotly.min.js", "/assets/js/main.js"] {
        assert_eq!(Answer::of(world.bare(Method::GET, path)).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_revoked_and_an_expired_token_open_nothing() {
    let world = World::start().await;
    let created = world.post("/v1/tokens", &json!({"name": "ci", "scopes": ["read"]})).await;
    assert_eq!(created.header("cache-control"), "no-store");
    let created = created.expect(StatusCode::CREATED);
    let token = created["token"].as_str().unwrap();
    let runs = async |token: &str| Answer::of(world.bare(Method::GET, "/v1/runs").bearer_auth(token)).await.status;
    assert_eq!(runs(token).await, StatusCode::OK);
    let listed = world.get("/v1/tokens").await;
    assert!(!listed.text().contains(token));
    assert!(listed.json()["items"].as_array().unwrap().iter().any(|token| token["name"] == "ci"));

    let path = format!("/v1/tokens/{}", created["id"]);
    for _ in 0..2 {
        assert_eq!(Answer::of(world.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(runs(token).await, StatusCode::UNAUTHORIZED);

    let short =
        world.post("/v1/tokens", &json!({"name": "short", "scopes": ["read"], "expires_in_seconds": 1})).await.expect(StatusCode::CREATED);
    let short = short["token"].as_str().unwrap();
    assert_eq!(runs(short).await, StatusCode::OK);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while runs(short).await == StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "the token never expired");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(runs(short).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_last_admin_token_stays() {
    let world = World::start().await;
    let tokens = world.get("/v1/tokens").await.json();
    let admin = tokens["items"].as_array().unwrap().iter().find(|token| token["scopes"] == json!(["admin"])).unwrap()["id"].clone();
    let answer = Answer::of(world.request(Method::DELETE, &format!("/v1/tokens/{admin}"))).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.problem();
    assert_eq!(world.get("/v1/tokens").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_token_cannot_be_is_pointed_at() {
    let world = World::start().await;
    for (body, pointer) in [
        (json!({"name": "", "scopes": ["read"]}), "/name"),
        (json!({"name": "x", "scopes": []}), "/scopes"),
        (json!({"name": "x", "scopes": ["write"]}), "/scopes/0"),
        (json!({"name": "x", "scopes": ["read"], "expires_in_seconds": 0}), "/expires_in_seconds"),
        (json!({"name": "x", "scopes": ["read"], "colour": 1}), "/colour"),
    ] {
        let answer = world.post("/v1/tokens", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
}

/// Signs in and answers the cookie.
pub(crate) async fn sign_in(world: &World, token: &str) -> (String, Value) {
    let answer = Answer::of(world.bare(Method::POST, "/v1/session").bearer_auth(token)).await;
    let cookie = answer.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
    }
    assert!(!cookie.contains(token));
    (cookie.split(';').next().unwrap().to_owned(), answer.expect(StatusCode::OK))
}

#[tokio::test]
async fn a_session_has_the_tokens_scopes_but_never_the_workers() {
    let world = World::start().await;
    let (admin, _) = sign_in(&world, world.admin()).await;
    let both = world.token(&["read", "worker"]).await;
    let (reader, session) = sign_in(&world, &both).await;
    assert_eq!(session["scopes"], json!(["read"]));
    let status =
        async |cookie: &str, method: Method, path: &str| Answer::of(world.bare(method, path).header("cookie", cookie)).await.status;
    assert_eq!(status(&admin, Method::GET, "/v1/tokens").await, StatusCode::OK);
    assert_eq!(status(&reader, Method::GET, "/v1/runs").await, StatusCode::OK);
    assert_eq!(status(&reader, Method::POST, "/v1/jobs").await, StatusCode::FORBIDDEN);
    for cookie in [&admin, &reader] {
        assert_eq!(status(cookie, Method::POST, "/v1/worker/claims").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(status("trainyard_session=ty_made_up", Method::GET, "/v1/runs").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_by_signing_out_and_with_its_token_and_not_by_a_restart() {
    let world = World::start().await;
    let created = world.post("/v1/tokens", &json!({"name": "person", "scopes": ["read"]})).await.expect(StatusCode::CREATED);
    let (one, _) = sign_in(&world, created["token"].as_str().unwrap()).await;
    let (other, _) = sign_in(&world, created["token"].as_str().unwrap()).await;
    let world = world.restart().await;
    let runs = async |world: &World, cookie: &str| Answer::of(world.bare(Method::GET, "/v1/runs").header("cookie", cookie)).await.status;
    assert_eq!(runs(&world, &one).await, StatusCode::OK);

    let answer = Answer::of(world.bare(Method::DELETE, "/v1/session").header("cookie", &one)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(runs(&world, &one).await, StatusCode::UNAUTHORIZED);

    assert_eq!(runs(&world, &other).await, StatusCode::OK);
    Answer::of(world.request(Method::DELETE, &format!("/v1/tokens/{}", created["id"]))).await;
    assert_eq!(runs(&world, &other).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_sessions_changes_come_from_its_own_origin_only() {
    let world = World::start().await;
    let run = world.submit_run().await;
    let (cookie, _) = sign_in(&world, world.admin()).await;
    let cancel = async |headers: &[(&str, String)]| {
        let mut request = world.bare(Method::POST, &format!("/v1/runs/{run}/cancel")).header("cookie", &cookie);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        Answer::of(request).await.status
    };
    assert_eq!(cancel(&[("origin", "http://127.0.0.1:1".to_owned())]).await, StatusCode::FORBIDDEN);
    assert_eq!(cancel(&[("sec-fetch-site", "same-site".to_owned())]).await, StatusCode::FORBIDDEN);
    let own = ("origin", world.url(""));
    assert_eq!(cancel(&[own, ("sec-fetch-site", "same-origin".to_owned())]).await, StatusCode::OK);
}
