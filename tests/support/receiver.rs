//! A receiver of webhooks: plain HTTP/1.1 over one connection a message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// A message: its headers, by names in lower case, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// The connection stays open and silent.
    Never,
}

/// A receiver that listens until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Message>>>,
    answer: Arc<Mutex<Answer>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, received, answer) = (listener.local_addr().unwrap(), Arc::default(), Arc::new(Mutex::new(answer)));
        let (messages, answers) = (Arc::clone(&received), Arc::clone(&answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&messages), Arc::clone(&answers)));
            }
        });
        Self { address, received, answer, task }
    }

    /// As `--webhook-host` has it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// All messages so far.
    pub fn received(&self) -> Vec<Message> {
        self.received.lock().unwrap().clone()
    }

    /// All messages, once there are so many.
    pub async fn until(&self, count: usize) -> Vec<Message> {
        eventually(&format!("{count} messages"), async || Some(self.received()).filter(|received| received.len() >= count)).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one message and answers it; a connection that breaks off is none.
async fn take(mut stream: TcpStream, received: Arc<Mutex<Vec<Message>>>, answer: Arc<Mutex<Answer>>) {
    let mut bytes = Vec::new();
    let message = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(message) = parse(&bytes) {
            break message;
        }
    };
    let answer = {
        let answer = *answer.lock().unwrap();
        received.lock().unwrap().push(message);
        answer
    };
    match answer {
        Answer::Status(status) => {
            let answer = format!("HTTP/1.1 {status} Test\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Answer::Never => {
            // Until the sender goes away.
            let _ = stream.read_buf(&mut bytes).await;
        }
    }
}

/// The message, once it is whole.
fn parse(bytes: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let headers: BTreeMap<_, _> = head.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    (body.len() >= length).then(|| Message { headers, body: body.to_owned() })
}
