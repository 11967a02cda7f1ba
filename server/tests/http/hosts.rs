//! DNS rebinding and cross-site requests.

use reqwest::{Method, StatusCode};

use super::world::{Answer, World};

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_on_every_route() {
    let world = World::start().await;
    for path in ["/", "/healthz", "/readyz", "/assets/plotly.min.js", "/v1/runs", "/v1/nothing", "/metrics"] {
        for (name, value) in
            [("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let answer = Answer::of(world.request(Method::GET, path).header(name, value)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} with {name}: {value}");
            assert_eq!(answer.problem().r#type, "/problems/foreign-origin");
        }
        let own = Answer::of(world.request(Method::GET, path).header("host", "localhost:1").header("origin", "http://127.0.0.1:2")).await;
        assert_ne!(own.status, StatusCode::FORBIDDEN, "{path}");
    }
    let submit = world.request(Method::POST, "/v1/jobs").json(&super::world::regression()).header("origin", "https://evil.example");
    assert_eq!(Answer::of(submit).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.jobs().await, 0);
}

#[tokio::test]
async fn an_allowed_host_is_let_in() {
    let world = World::start_with(|config| config.allowed_hosts = vec!["trainyard".to_owned()]).await;
    let status = async |host: &str| Answer::of(world.request(Method::GET, "/v1/runs").header("host", host)).await.status;
    assert_eq!(status("trainyard:8080").await, StatusCode::OK);
    assert_eq!(status("trainyard.example").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_get_a_policy_without_inline_scripts() {
    let world = World::start().await;
    let page = Answer::of(world.bare(Method::GET, "/")).await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("unsafe-eval"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn static_files_are_revalidated_by_their_hash() {
    let world = World::start().await;
    for path in ["/", "/assets/plotly.min.js", "/assets/js/main.js"] {
        let first = Answer::of(world.bare(Method::GET, path)).await;
        assert_eq!(first.header("cache-control"), "no-cache");
        let again = Answer::of(world.bare(Method::GET, path).header("if-none-match", first.header("etag"))).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
    }
    let versioned = Answer::of(world.bare(Method::GET, "/assets/plotly.min.js?v=3")).await;
    assert!(versioned.header("cache-control").contains("immutable"));
    assert_eq!(versioned.header("content-type"), "text/javascript; charset=utf-8");
}
