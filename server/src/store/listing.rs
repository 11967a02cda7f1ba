//! Finding runs: filters, order, pages that hold every run once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use trainyard_wire::annotation::Project;
use trainyard_wire::run::Run;
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Number, RunId, RunState, Timestamp};

use super::{RunFilter, Slice, Store, StoreError};
use crate::db;

/// Which runs are looked at: the shelves from the first to the last. What is deleted is on none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelves {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Shelves {
    pub const LISTED: Self = Self { first: 0, last: 0 };
    pub const ARCHIVED: Self = Self { first: 1, last: 1 };
    pub const ALL: Self = Self { first: 0, last: 1 };
}

/// A tag that a run has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagFilter {
    pub key: String,
    /// Any without.
    pub value: Option<String>,
}

/// Which number of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    Last,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    AtLeast,
}

/// What a metric of a run has to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricFilter {
    pub name: String,
    pub statistic: Statistic,
    #[serde(flatten)]
    pub bound: Bound,
}

/// The end of an open range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bound {
    pub comparison: Comparison,
    /// Finite.
    pub value: f64,
}

/// What runs are put in order by. Those that have no such thing come last, whichever way it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortKey {
    Created,
    /// As are the projects, without regard to the case of ASCII letters.
    Name,
    /// Waiting, running, ended: as a run goes through them.
    State,
    Kind,
    Project,
    /// From the first claim to the end or to now.
    Duration,
    /// The share of the steps that is done.
    Progress,
    Metric {
        name: String,
        statistic: Statistic,
    },
    /// A place in the spec, as SQLite writes its path.
    Parameter(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    pub key: SortKey,
    pub descending: bool,
}

/// Where a page ended: the next one goes on after this run and the value that it was sorted by, whatever became of both since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub id: RunId,
    /// Neither this nor the text: the value was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Durations of running runs are taken to this time on all pages.
    pub now: i64,
}

/// Which runs are wanted, and in which order: all filters must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSearch {
    pub state: Option<RunState>,
    pub kind: Option<Kind>,
    pub job: Option<JobId>,
    pub shelves: Shelves,
    /// Empty: none.
    pub project: Option<String>,
    pub tags: Vec<TagFilter>,
    /// A part of the name, the notes or the id.
    pub text: Option<String>,
    pub optimizer: Option<String>,
    pub network: Option<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub metrics: Vec<MetricFilter>,
    pub sort: Sort,
    pub after: Option<Place>,
    /// At most 1000.
    pub limit: u32,
}

impl Default for RunSearch {
    fn default() -> Self {
        Self {
            state: None,
            kind: None,
            job: None,
            shelves: Shelves::LISTED,
            project: None,
            tags: Vec::new(),
            text: None,
            optimizer: None,
            network: None,
            created_after: None,
            created_before: None,
            metrics: Vec::new(),
            sort: Sort { key: SortKey::Created, descending: true },
            after: None,
            limit: 100,
        }
    }
}

impl RunSearch {
    /// The filter that finds the same, if there is one: lists by it come from an index.
    fn plain(&self) -> Option<RunFilter> {
        let Self { state, kind, job, shelves, limit, .. } = *self;
        let bare = Self { state, kind, job, shelves, limit, after: self.after.clone(), ..Self::default() };
        (*self == bare).then(|| RunFilter { state, kind, job, shelves, before: self.after.as_ref().map(|place| place.id), limit })
    }
}

/// A page of the runs that match.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPage {
    pub runs: Vec<Run>,
    /// How many match, on all pages; none where it is not known.
    pub total: Option<u64>,
    /// Where the next page goes on, if there is one.
    pub next: Option<Place>,
}

impl Store {
    /// The runs that match, without the numbers of inline problems.
    pub async fn find_runs(&self, search: &RunSearch) -> Result<RunPage, StoreError> {
        let mut conn = self.snapshot().await?;
        if let Some(filter) = search.plain() {
            let total = db::run_rows::count(&mut conn, &filter).await?;
            let Slice { items: runs, more } = db::split_more(db::run_rows::list(&mut conn, &filter).await?, filter.limit);
            let next = runs.last().filter(|_| more).map(|run| Place { id: run.id, number: None, text: None, now: 0 });
            return Ok(RunPage { runs, total: Some(total), next });
        }
        let now = search.after.as_ref().map_or(Timestamp::now(), |place| Timestamp(place.now));
        let db::listing::Found { places, total } = db::listing::find(&mut conn, search, now).await?;
        let Slice { items: places, more } = db::split_more(places, search.limit);
        let ids: Vec<RunId> = places.iter().map(|place| place.id).collect();
        let mut runs = db::run_rows::by_id(&mut conn, &ids).await?;
        let order: HashMap<RunId, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        runs.sort_by_key(|run| order.get(&run.id).copied());
        Ok(RunPage { runs, total, next: places.into_iter().next_back().filter(|_| more) })
    }

    /// The ids of all runs that match, in their order; their number where they are more than `most`.
    pub async fn matching_ids(&self, search: RunSearch, most: usize) -> Result<Result<Vec<RunId>, u64>, StoreError> {
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        let search = RunSearch { after: None, limit, ..search };
        let db::listing::Found { places, total } = db::listing::find(&mut *self.reader().await?, &search, Timestamp::now()).await?;
        if places.len() > most {
            return Ok(Err(total.unwrap_or(places.len() as u64)));
        }
        Ok(Ok(places.into_iter().map(|place| place.id).collect()))
    }

    /// All projects by name, with their runs counted.
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        db::listing::projects(&mut *self.reader().await?).await
    }
}
