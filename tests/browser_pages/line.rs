//! A line between a browser and a server that can be cut.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Connections = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// Passes bytes both ways; ends when it is dropped.
pub(crate) struct Line {
    /// Where the browser finds the server.
    pub(crate) url: String,
    connections: Connections,
    accepting: JoinHandle<()>,
}

impl Line {
    pub(crate) async fn to(url: &str) -> Self {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Connections::default();
        let accepted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let server = server.clone();
                let connection = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(server).await {
                        // Either end may go away at any time.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                accepted.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
        });
        Self { url, connections, accepting }
    }

    /// Drops all connections, in the middle of whatever they carry; answers how many there were.
    pub(crate) fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<_> = connections.into_iter().filter(|connection| !connection.is_finished()).collect();
        open.iter().for_each(JoinHandle::abort);
        open.len()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
