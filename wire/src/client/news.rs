//! `GET /v1/events`, message by message.

use futures::StreamExt as _;
use serde::de::Error as _;

use super::{ByteStream, Client, ClientError};
use crate::run::News;
use crate::{Revision, RunId};

/// More than any message has, in bytes.
const LONGEST_MESSAGE: usize = 1 << 20;

/// What happens to runs, as it happens. Opened before the runs are looked at, it leaves nothing out in between.
pub struct NewsStream {
    pieces: ByteStream,
    messages: Messages,
}

impl Client {
    /// As [`follow`](Self::follow), read into messages.
    pub async fn news(&self, ids: &[RunId], after: Option<Revision>) -> Result<NewsStream, ClientError> {
        let messages = Messages { last: after, ..Messages::default() };
        Ok(NewsStream { pieces: self.follow(ids, after).await?, messages })
    }
}

impl NewsStream {
    /// The next message; `None` where the server ended the stream. Nothing is lost where this is dropped and called again.
    pub async fn next(&mut self) -> Result<Option<News>, ClientError> {
        loop {
            if let Some(news) = self.messages.take()? {
                return Ok(Some(news));
            }
            match self.pieces.next().await {
                Some(piece) => self.messages.add(&piece?),
                None => return Ok(None),
            }
        }
    }

    /// The id of the last message: a stream that is opened after it goes on from there.
    pub fn last(&self) -> Option<Revision> {
        self.messages.last
    }
}

/// Bytes that have come, cut into messages.
#[derive(Debug, Default)]
struct Messages {
    bytes: Vec<u8>,
    last: Option<Revision>,
}

impl Messages {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// The next message that is there whole and says something.
    fn take(&mut self) -> Result<Option<News>, ClientError> {
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let message: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let fields = message.split(|byte| *byte == b'\n').filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                Some((&line[..colon], line[colon + 1..].trim_ascii_start()))
            });
            let mut news = None;
            for (field, value) in fields {
                match field {
                    b"id" => self.last = Some(serde_json::from_slice(value)?),
                    b"data" => news = Some(serde_json::from_slice(value)?),
                    _ => {}
                }
            }
            if news.is_some() {
                return Ok(news);
            }
        }
        if self.bytes.len() > LONGEST_MESSAGE {
            return Err(serde_json::Error::custom("a message of the stream has no end").into());
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_MESSAGE, Messages};
    use crate::{Revision, RunId};

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let stream = "retry: 1000\nid: 7\n\n:\n\nid: 8\ndata: {\"revision\":8,\"run_id\":3,\"kind\":\"changed\"}\n\nid: 9\ndata: {\"revision\":9,\"run_id\":4,\"kind\":\"failed\"}\n\n";
        for size in [1, 2, 7, stream.len()] {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                messages.add(piece);
                while let Some(news) = messages.take().unwrap() {
                    found.push((news.run_id, news.kind));
                }
            }
            assert_eq!(found, [(RunId(3), "changed".to_owned()), (RunId(4), "failed".to_owned())]);
            assert_eq!(messages.last, Some(Revision(9)));
        }
    }

    #[test]
    fn an_id_without_data_is_remembered_and_what_is_no_message_is_refused() {
        let mut messages = Messages::default();
        messages.add(b"id: 5\n\n");
        assert_eq!((messages.take().unwrap(), messages.last), (None, Some(Revision(5))));
        messages.add(b"data: {]\n\n");
        assert!(messages.take().is_err());
        messages.add(&vec![b'x'; LONGEST_MESSAGE + 1]);
        assert!(messages.take().is_err());
    }
}
