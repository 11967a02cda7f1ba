//! A server in this process with worker processes beside it: what `up` and `demo` run.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::Context as _;
use trainyard_server::{Server, ServerConfig};
use trainyard_wire::client::Client;
use trainyard_worker::{DeviceChoice, Precision};

use crate::connection::read_token;
use crate::logging::LogFormat;
use crate::supervisor::{Supervisor, WorkerCommand};

/// The workers of a yard.
#[derive(Clone, Debug)]
pub(crate) struct WorkersConfig {
    pub count: usize,
    /// Of each worker; the machine's cores shared out among the workers unless given.
    pub threads: Option<usize>,
    /// Bytes of each worker; most of the machine's shared out among the workers unless given.
    pub memory: Option<u64>,
    pub device: DeviceChoice,
    pub gpu_precision: Precision,
    pub log: LogFormat,
    /// What the workers log where `RUST_LOG` does not say.
    pub log_filter: &'static str,
}

impl WorkersConfig {
    /// Threads of each worker, at least 1.
    pub(crate) fn threads(&self) -> usize {
        let cores = available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or(cores / self.count.max(1)).max(1)
    }

    /// Bytes of each worker, where they are known.
    fn memory(&self) -> Option<u64> {
        self.memory.or_else(|| machine_share(self.count.max(1)))
    }
}

/// A running server and its workers.
pub(crate) struct Yard {
    server: Server,
    workers: Supervisor,
}

impl Yard {
    pub(crate) async fn start(mut server: ServerConfig, workers: &WorkersConfig) -> anyhow::Result<Self> {
        // Each worker would say so at its start, again and again.
        workers.device.check().context("cannot train there")?;
        let cache = std::path::absolute(server.data_dir.join("worker-cache")).context("cannot tell the data folder's absolute path")?;
        if let Some(memory) = workers.memory() {
            // What none of these workers can take is refused when it is submitted, instead of waiting for ever.
            let limit = &mut server.limits.run_memory_bytes;
            *limit = (*limit).min(memory.saturating_sub(trainyard_worker::OWN_BYTES));
        }
        let server = Server::start(server).await.context("cannot start the server")?;
        let command = WorkerCommand {
            program: std::env::current_exe().context("cannot tell this program's own file")?,
            arguments: worker_arguments(&server, workers, &cache),
            log_filter: workers.log_filter,
        };
        let workers = Supervisor::start(&command, workers.count);
        Ok(Self { server, workers })
    }

    /// The address that this machine's clients reach the server at.
    pub(crate) fn url(&self) -> String {
        local_url(self.server.address())
    }

    /// The dashboard's address with a ticket that signs its first visitor in.
    pub(crate) fn dashboard_url(&self) -> String {
        self.server.dashboard_url().to_string()
    }

    pub(crate) fn admin_token_file(&self) -> &Path {
        self.server.admin_token_file()
    }

    /// A client with the admin token.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.url(), Some(read_token(self.admin_token_file())?))?)
    }

    /// Waits until the server's disk fails ([`Server::disk_failed`]).
    pub(crate) async fn disk_failed(&self) -> String {
        self.server.disk_failed().await
    }

    /// Stops the workers first, so that they can still give their runs back, then the server.
    pub(crate) async fn shutdown(self) {
        self.workers.shutdown().await;
        self.server.shutdown().await;
    }
}

fn worker_arguments(server: &Server, workers: &WorkersConfig, cache: &Path) -> Vec<OsString> {
    let pairs: [(&str, OsString); 7] = [
        ("--server", local_url(server.address()).into()),
        ("--token-file", server.worker_token_file().into()),
        ("--threads", workers.threads().to_string().into()),
        ("--device", workers.device.to_string().into()),
        ("--gpu-precision", workers.gpu_precision.to_string().into()),
        ("--cache-dir", cache.into()),
        ("--log", workers.log.as_str().into()),
    ];
    let memory = workers.memory().map(|bytes| ("--memory", bytes.to_string().into()));
    let options = pairs.into_iter().chain(memory).flat_map(|(option, value)| [option.into(), value]);
    ["worker".into(), "--exit-with-parent".into()].into_iter().chain(options).collect()
}

/// What one of so many workers may take of the machine's memory, where that is known: a fifth is left to all else.
pub(crate) fn machine_share(workers: usize) -> Option<u64> {
    Some(trainyard_worker::machine_bytes()? / 5 * 4 / workers as u64)
}

/// The URL of a listener, from this machine: one that listens on all addresses is reached at the loopback one.
pub(crate) fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::{DeviceChoice, LogFormat, Precision, WorkersConfig, local_url};

    #[test]
    fn a_server_on_all_addresses_is_reached_at_loopback() {
        assert_eq!(local_url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(local_url("[::]:8080".parse().unwrap()), "http://[::1]:8080");
        assert_eq!(local_url("192.168.1.5:8080".parse().unwrap()), "http://192.168.1.5:8080");
    }

    #[test]
    fn every_worker_has_at_least_one_thread() {
        let workers = |count, threads| WorkersConfig {
            count,
            threads,
            memory: None,
            device: DeviceChoice::Cpu,
            gpu_precision: Precision::Fp32,
            log: LogFormat::Text,
            log_filter: "warn",
        };
        assert_eq!(workers(10_000, None).threads(), 1);
        assert!(workers(1, None).threads() >= 1);
        assert_eq!(workers(3, Some(2)).threads(), 2);
    }
}
