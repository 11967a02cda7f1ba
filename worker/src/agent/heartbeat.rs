//! Heartbeats: they renew the leases, whatever the trainers do, and bring the server's word back.

use std::time::Duration;

use trainyard_wire::worker::Heartbeat;

use super::Agent;
use super::server::{CallError, Server};

impl<S: Server> Agent<S> {
    /// Beats until it is dropped.
    pub(super) async fn beat(&self, every: Duration) {
        loop {
            // A beat that was missed is made up for soon, before the lease is over.
            let next = if self.heartbeat().await { every } else { every / 4 };
            tokio::time::sleep(next).await;
        }
    }

    /// One heartbeat. Returns whether the server answered it.
    async fn heartbeat(&self) -> bool {
        let worker_id = self.worker_id();
        let heartbeat = Heartbeat { worker_id, runs: self.held.list() };
        match self.server.heartbeat(&heartbeat).await {
            Ok(answer) => {
                for (run, directive) in heartbeat.runs.iter().zip(answer.runs) {
                    self.held.obey(*run, directive);
                }
                self.drain(answer.drain);
                true
            }
            Err(CallError::NotFound(reason)) => {
                tracing::warn!(%worker_id, reason, "the server does not know this worker");
                self.register_again(worker_id).await;
                false
            }
            Err(error) => {
                tracing::warn!(%worker_id, %error, "a heartbeat was not answered");
                false
            }
        }
    }

    /// The server shuts its queue down, or opens it again.
    fn drain(&self, drain: bool) {
        let changed = self.draining.send_if_modified(|draining| std::mem::replace(draining, drain) != drain);
        if changed && drain {
            tracing::info!("the server drains: the runs are given back");
            self.held.release();
        } else if changed && !self.stop.is_cancelled() {
            self.held.keep();
        }
    }
}
