//! Named views: queries of the list of runs that people come back to.

use futures::FutureExt as _;
use trainyard_wire::annotation::View;

use super::writer::write_error;
use super::{Store, StoreError};
use crate::db;

/// Most views of a store: all of them are answered at once.
const MOST_VIEWS: u64 = 200;

/// Why a view is not stored.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// 409.
    #[error("there are {MOST_VIEWS} views already: delete one first")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(ViewError, Store);

impl Store {
    /// All views, by name.
    pub async fn views(&self) -> Result<Vec<View>, StoreError> {
        db::views::list(&mut *self.reader().await?).await
    }

    /// Stores a query, which is valid, under a name, in place of what was there; answers it and whether the name is new.
    pub async fn put_view(&self, name: String, query: String) -> Result<(View, bool), ViewError> {
        let write = self.inner.writer.write::<_, ViewError, _>(move |transaction| {
            async move {
                let (now, conn) = (transaction.now, &mut transaction.conn);
                let before = db::views::get(conn, &name).await?;
                if let Some(before) = before.as_ref().filter(|before| before.query == query) {
                    return Ok((before.clone(), false));
                }
                if before.is_none() && db::views::count(conn).await? >= MOST_VIEWS {
                    return Err(ViewError::TooMany);
                }
                db::views::put(conn, &name, &query, now).await?;
                let view = db::views::get(conn, &name).await?.ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound))?;
                transaction.advance_revision(1);
                Ok((view, before.is_none()))
            }
            .boxed()
        });
        write.await
    }

    /// Forgets a view; answers whether there was one.
    pub async fn delete_view(&self, name: String) -> Result<bool, StoreError> {
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                let was_there = db::views::delete(&mut transaction.conn, &name).await?;
                if was_there {
                    transaction.advance_revision(1);
                }
                Ok(was_there)
            }
            .boxed()
        });
        write.await
    }
}
