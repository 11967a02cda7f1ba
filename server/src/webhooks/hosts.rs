//! The hosts that the server may call, which are none unless its operator names them.
//!
//! An address is what its author and the server read alike: it must be written as it is read. So no two parsers disagree on where it leads,
//! and an IP address has only one form. A name on the list is called whatever it resolves to: the list is the operator's word for that.

use std::net::Ipv6Addr;
use std::str::FromStr;

use url::{Host, Url};

/// Most bytes of an address.
const LONGEST: usize = 2_000;

/// Why text is no entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host, such as hooks.example.org, or a host with a port, such as 127.0.0.1:9000")]
pub struct HostError(String);

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("must have at most {LONGEST} bytes")]
    TooLong,
    #[error("is not an address: {0}")]
    Unreadable(url::ParseError),
    #[error("must be http or https")]
    Scheme,
    #[error("must name no user and no password: messages are signed instead")]
    User,
    #[error("must have no fragment: it is not sent")]
    Fragment,
    #[error("must be written as it is read: {0}")]
    NotAsRead(String),
    #[error("names a host that this server may not call; its operator lists hosts with --webhook-host: {0}")]
    NotListed(String),
}

/// A host that may be called: at its schemes' own ports (80 and 443), or at the one port that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookHost {
    host: String,
    port: Option<u16>,
}

impl FromStr for WebhookHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = || HostError(text.to_owned());
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Self { host: Host::<String>::Ipv6(ip).to_string(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?)),
            _ => (text, None),
        };
        let host = Host::parse(host).map_err(|_| bad())?;
        // A name that no host can have, such as a pattern, would never fit.
        let is_plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        match &host {
            Host::Domain(name) if !is_plain(name) => Err(bad()),
            _ => Ok(Self { host: host.to_string(), port }),
        }
    }
}

/// The hosts that may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookHosts(pub Vec<WebhookHost>);

impl WebhookHosts {
    /// The address, if it may be called.
    ///
    /// # Errors
    /// Where it may not.
    pub fn check(&self, address: &str) -> Result<Url, AddressError> {
        if address.len() > LONGEST {
            return Err(AddressError::TooLong);
        }
        let url = Url::parse(address).map_err(AddressError::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::User);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        if url.as_str() != address && url.as_str().strip_suffix('/') != Some(address) {
            return Err(AddressError::NotAsRead(url.into()));
        }
        let host = url.host_str().unwrap_or_default();
        let fits = |entry: &&WebhookHost| {
            entry.host == host && entry.port.map_or(url.port().is_none(), |port| url.port_or_known_default() == Some(port))
        };
        match self.0.iter().find(fits) {
            Some(_) => Ok(url),
            None => Err(AddressError::NotListed(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> WebhookHosts {
        WebhookHosts(list.iter().map(|host| host.parse().unwrap()).collect())
    }

    #[test]
    fn nothing_may_be_called_unless_it_is_listed() {
        for address in ["http://127.0.0.1/", "https://hooks.example.org/", "http://localhost/"] {
            assert!(matches!(WebhookHosts::default().check(address), Err(AddressError::NotListed(_))), "{address}");
        }
    }

    #[test]
    fn a_host_is_called_at_its_schemes_port_and_one_with_a_port_there_alone() {
        let hosts = hosts(&["hooks.example.org", "Other.example:8443", "127.0.0.1:9000", "::1", "[::1]:81", "10.0.0.1:443"]);
        for address in [
            "https://hooks.example.org",
            "https://hooks.example.org/",
            "http://hooks.example.org/a/b?c=d",
            "https://other.example:8443/",
            "http://other.example:8443/",
            "http://127.0.0.1:9000/hook",
            "http://[::1]/",
            "http://[::1]:81/",
            "https://10.0.0.1/",
        ] {
            assert_eq!(
                hosts.check(address).map(|url| url.as_str().trim_end_matches('/').to_owned()),
                Ok(address.trim_end_matches('/').to_owned())
            );
        }
        for address in [
            "https://hooks.example.org:8443/",
            "https://other.example/",
            "http://127.0.0.1/",
            "http://127.0.0.1:9001/",
            "http://10.0.0.1/",
            "http://[::1]:82/",
        ] {
            assert!(matches!(hosts.check(address), Err(AddressError::NotListed(_))), "{address}");
        }
    }

    #[test]
    fn hostile_addresses_lead_nowhere() {
        let hosts = hosts(&["hooks.example.org", "127.0.0.1"]);
        let not_listed: [&str; 17] = [
            "http://evil.example/",
            "http://hooks.example.org.evil.example/",
            "http://evil.example/hooks.example.org",
            "http://evil.example/?hooks.example.org",
            "http://hooks.example.org./",
            "http://sub.hooks.example.org/",
            "http://hooks.example.orgx/",
            "http://localhost/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::]/",
            "http://metadata.google.internal/",
            "https://hooks.example.org:22/",
            "http://127.0.0.1:6379/",
        ];
        for address in not_listed {
            assert!(matches!(hosts.check(address), Err(AddressError::NotListed(_))), "{address}: {:?}", hosts.check(address));
        }
        // What is read as something else than it looks like, also where that is listed.
        let disguised = [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://127.1/",
            "http://127.0.0.1:80/",
            "http://[::ffff:127.0.0.1]/",
            "HTTP://hooks.example.org/",
            "http://HOOKS.example.org/",
            "http://hooks。example.org/",
            "http://h%6foks.example.org/",
            "http://hooks.example.org\\@evil.example/",
            "http:\\\\hooks.example.org/",
            "http:/hooks.example.org/",
            "http:hooks.example.org/",
            "http:///hooks.example.org/",
            " http://hooks.example.org/",
            "http://hooks.example.org/ ",
            "http://hooks.exam\nple.org/",
            "http://hooks.example.org/a/../b",
            "http://hooks.example.org/a b",
            "http://@hooks.example.org/",
            "http://:@hooks.example.org/",
        ];
        for address in disguised {
            assert!(matches!(hosts.check(address), Err(AddressError::NotAsRead(_))), "{address:?}: {:?}", hosts.check(address));
        }
        for (address, error) in [
            ("http://hooks.example.org@evil.example/", AddressError::User),
            ("http://user:secret@hooks.example.org/", AddressError::User),
            ("http://:secret@hooks.example.org/", AddressError::User),
            ("http://hooks.example.org/#fragment", AddressError::Fragment),
            ("http://hooks.example.org#@evil.example/", AddressError::Fragment),
            ("ftp://hooks.example.org/", AddressError::Scheme),
            ("file:///etc/passwd", AddressError::Scheme),
            ("gopher://127.0.0.1:6379/_INFO", AddressError::Scheme),
            ("javascript:alert(1)", AddressError::Scheme),
            ("data:text/plain,a", AddressError::Scheme),
            ("unix:///run/docker.sock", AddressError::Scheme),
            ("ws://hooks.example.org/", AddressError::Scheme),
        ] {
            assert_eq!(hosts.check(address), Err(error), "{address}");
        }
        for address in [
            "",
            "hooks.example.org",
            "//hooks.example.org/",
            "http://",
            "http://hooks.example.org:99999/",
            "http://[::1/",
            "http://a b/",
            "http://xn--hooks-example.org/",
        ] {
            assert!(matches!(hosts.check(address), Err(AddressError::Unreadable(_))), "{address}: {:?}", hosts.check(address));
        }
        assert_eq!(hosts.check(&format!("http://hooks.example.org/{}", "a".repeat(2_000))), Err(AddressError::TooLong));
    }

    #[test]
    fn what_is_no_host_is_no_entry() {
        for text in ["", "http://a", "a/b", "user@a", "a:0", "a:99999", "a:b", "a b", "[::1", "a#b", "a?b", ":80", "*", "*.a"] {
            assert!(text.parse::<WebhookHost>().is_err(), "{text:?} is {:?}", text.parse::<WebhookHost>());
        }
    }
}
