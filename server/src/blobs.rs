//! File contents, stored by hash.

use crate::store::StoreError;

/// A file that is being received, hashed as it is written.
pub struct Staging {}

impl Staging {
    /// Appends a piece.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Ends the file: flushed, fsynced and its hash known. Not yet part of the store; dropping it deletes the file.
    pub async fn finish(self) -> Result<StagedBlob, StoreError> {
        todo!()
    }
}

/// A complete file that waits to become part of the store. Dropping it deletes the file.
#[derive(Debug)]
pub struct StagedBlob {}

impl StagedBlob {
    /// Lower-case hexadecimal; compare it with what the sender announced before storing it.
    pub fn sha256(&self) -> &str {
        todo!()
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }

    /// Where the bytes lie until then, to be parsed.
    pub fn path(&self) -> &std::path::Path {
        todo!()
    }
}
