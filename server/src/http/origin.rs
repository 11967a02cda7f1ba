//! Which hosts and origins may talk to the server.
//!
//! A page that its user visits can make the browser send requests to loopback addresses, and a name that an attacker owns can be
//! made to resolve to one (DNS rebinding). Both are seen in the headers: the `Host` then is not a loopback name, or the `Origin` is a foreign one,
//! or `Sec-Fetch-Site` says `cross-site`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::ApiError;

/// The loopback names and addresses, and the names that the operator allowed; with any port.
#[derive(Clone, Debug)]
pub(crate) struct HostPolicy {
    allowed: Arc<[String]>,
}

impl HostPolicy {
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.iter().map(|host| normalize(host_of(host))).collect() }
    }

    /// Whether `authority` (`host`, `host:port`, `[::1]:port`) names this server.
    fn allows(&self, authority: &str) -> bool {
        let host = normalize(host_of(authority));
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        loopback || self.allowed.contains(&host)
    }

    /// Why a request may not come in, if it may not.
    fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
        if headers.get_all(header::HOST).iter().count() > 1 {
            return Some("there is more than one Host header".to_owned());
        }
        let Some(host) = uri.authority().map(Authority::as_str).or_else(|| text(header::HOST)) else {
            return Some("the Host header is missing".to_owned());
        };
        if !self.allows(host) {
            return Some("the Host is neither a loopback name nor one that --allowed-host names".to_owned());
        }
        for origin in headers.get_all(header::ORIGIN) {
            let authority = origin.to_str().ok().and_then(origin_authority);
            if !authority.is_some_and(|authority| self.allows(authority)) {
                return Some("the Origin is neither a loopback name nor one that --allowed-host names".to_owned());
            }
        }
        let navigation = method == Method::GET
            && text(header::HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
            && text(header::HeaderName::from_static("sec-fetch-dest")) == Some("document")
            && super::dashboard::is_page(uri.path());
        if text(header::HeaderName::from_static("sec-fetch-site")) == Some("cross-site") && !navigation {
            return Some("pages of other sites may not make requests here".to_owned());
        }
        None
    }
}

/// The layer over everything.
pub(crate) async fn check(State(policy): State<HostPolicy>, request: Request, next: Next) -> Response {
    match policy.refusal(request.method(), request.uri(), request.headers()) {
        Some(reason) => ApiError::ForeignOrigin(reason).into_response(),
        None => next.run(request).await,
    }
}

/// The host and port of a serialized origin. `null` (a sandboxed frame, a file) has none.
pub(crate) fn origin_authority(origin: &str) -> Option<&str> {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
    (!authority.is_empty() && !authority.contains(['/', '@', '?', '#'])).then_some(authority)
}

/// `authority` without its port, and an IPv6 address without its brackets.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

fn normalize(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    use super::HostPolicy;

    fn refused(method: &Method, path: &'static str, headers: &[(&'static str, &'static str)]) -> bool {
        let policy = HostPolicy::new(&["trainyard".to_owned(), "Box.example.org".to_owned()]);
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        policy.refusal(method, &Uri::from_static(path), &headers).is_some()
    }

    #[test]
    fn loopback_names_and_allowed_hosts_are_let_in_with_any_port() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.9.9.9", "[::1]:1", "[::1]", "trainyard:8080", "box.example.org."] {
            assert!(!refused(&Method::GET, "/v1/runs", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "", "evil@localhost:1", "::2"]
        {
            assert!(refused(&Method::GET, "/v1/runs", &[("host", host)]), "{host}");
        }
        assert!(refused(&Method::GET, "/v1/runs", &[]));
        assert!(refused(&Method::GET, "/healthz", &[("host", "evil.example")]));
    }

    #[test]
    fn foreign_and_null_origins_are_refused() {
        for origin in
            ["http://evil.example", "null", "file://", "http://localhost@evil.example", "http://localhost/x", "localhost", "http://"]
        {
            assert!(refused(&Method::POST, "/v1/jobs", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
        for origin in ["http://localhost:5000", "https://trainyard", "http://[::1]:9"] {
            assert!(!refused(&Method::POST, "/v1/jobs", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn another_site_may_link_to_the_dashboard_and_nothing_else() {
        let navigate =
            [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(!refused(&Method::GET, "/", &navigate));
        assert!(refused(&Method::GET, "/v1/runs", &navigate));
        assert!(refused(&Method::POST, "/", &navigate));
        assert!(refused(&Method::GET, "/", &navigate[..2]));
        assert!(!refused(&Method::GET, "/v1/runs", &[("host", "localhost"), ("sec-fetch-site", "same-origin")]));
    }
}
