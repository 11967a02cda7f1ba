//! The calls that find runs and put them in order: lists, annotations, the archive, projects, views.

use reqwest::Method;

use super::{Client, ClientError, NextPage};
use crate::annotation::{Project, PutView, RunPatch, RunsActed, RunsAction, View};
use crate::run::Run;
use crate::state::Kind;
use crate::{JobId, Page, RunId, RunState, Timestamp};

/// What `GET /v1/runs` is asked: filters, of which all must hold, order and size of a page. Without any: the newest that are not archived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunQuery {
    pub state: Option<RunState>,
    pub kind: Option<Kind>,
    pub job: Option<JobId>,
    /// Empty: those in no project.
    pub project: Option<String>,
    /// Each `key`, or `key:value`.
    pub tags: Vec<String>,
    /// A part of the name, the notes or the number.
    pub text: Option<String>,
    /// `true`: only archived runs, `all`: those too.
    pub archived: Option<String>,
    pub optimizer: Option<String>,
    pub network: Option<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// Each such as `val_loss<0.5` or `loss.min<=1e-3`.
    pub metrics: Vec<String>,
    /// `created`, `name`, `state`, `kind`, `project`, `duration`, `progress`, `metric.NAME.last|min|max` or `param.PATH`; with `-` before it
    /// from the greatest.
    pub sort: Option<String>,
    /// Up to 1000.
    pub limit: Option<u32>,
}

impl RunQuery {
    /// The parameters of the query.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        fn add(pairs: &mut Vec<(&'static str, String)>, name: &'static str, value: Option<impl ToString>) {
            pairs.extend(value.map(|value| (name, value.to_string())));
        }
        let mut pairs = Vec::new();
        add(&mut pairs, "state", self.state);
        add(&mut pairs, "kind", self.kind);
        add(&mut pairs, "job", self.job);
        add(&mut pairs, "project", self.project.as_ref());
        pairs.extend(self.tags.iter().map(|tag| ("tag", tag.clone())));
        add(&mut pairs, "q", self.text.as_ref());
        add(&mut pairs, "archived", self.archived.as_ref());
        add(&mut pairs, "optimizer", self.optimizer.as_ref());
        add(&mut pairs, "network", self.network.as_ref());
        add(&mut pairs, "created_after", self.created_after);
        add(&mut pairs, "created_before", self.created_before);
        pairs.extend(self.metrics.iter().map(|metric| ("metric", metric.clone())));
        add(&mut pairs, "sort", self.sort.as_ref());
        add(&mut pairs, "limit", self.limit);
        pairs
    }
}

/// A page of a list of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPage {
    pub items: Vec<Run>,
    /// How many runs match, on this page and others.
    pub total: Option<u64>,
    pub next: Option<NextPage>,
}

impl Client {
    /// The first page of the runs that match.
    pub async fn runs(&self, query: &RunQuery) -> Result<Page<Run>, ClientError> {
        self.json(self.request(Method::GET, &["v1", "runs"]).query(&query.pairs())).await
    }

    /// A page of the runs that match: the first, or the one at `next`, which has the query in it.
    pub async fn run_page(&self, query: &RunQuery, next: Option<&NextPage>) -> Result<RunPage, ClientError> {
        let mut request = self.page_request(&["v1", "runs"], next);
        if next.is_none() {
            request = request.query(&query.pairs());
        }
        let response = self.send(request).await?;
        let next = NextPage::of(&response);
        let total = response.headers().get("x-total-count").and_then(|count| count.to_str().ok()?.parse().ok());
        let Page { items } = serde_json::from_slice(&response.bytes().await?)?;
        Ok(RunPage { items, total, next })
    }

    /// Changes name, project, tags, notes, or whether a run is archived; answers the run as it is then.
    pub async fn patch_run(&self, id: RunId, patch: &RunPatch) -> Result<Run, ClientError> {
        self.json(self.request(Method::PATCH, &["v1", "runs", &id.to_string()]).json(patch)).await
    }

    /// Deletes a run that neither waits nor runs: it is hidden at once and removed for good after a while.
    pub async fn delete_run(&self, id: RunId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &["v1", "runs", &id.to_string()])).await.map(drop)
    }

    /// Takes a delete back; answers the run.
    pub async fn restore_run(&self, id: RunId) -> Result<Run, ClientError> {
        self.json(self.request(Method::POST, &["v1", "runs", &id.to_string(), "restore"])).await
    }

    /// Does the same to many runs; what became of each.
    pub async fn act_on_runs(&self, action: &RunsAction) -> Result<RunsActed, ClientError> {
        self.post(&["v1", "runs", "actions"], action).await
    }

    pub async fn projects(&self) -> Result<Page<Project>, ClientError> {
        self.get(&["v1", "projects"]).await
    }

    pub async fn views(&self) -> Result<Page<View>, ClientError> {
        self.get(&["v1", "views"]).await
    }

    /// Keeps a query of `GET /v1/runs` under a name, in place of what was there.
    pub async fn put_view(&self, name: &str, query: &str) -> Result<View, ClientError> {
        let body = PutView { query: query.to_owned() };
        self.json(self.request(Method::PUT, &["v1", "views", name]).json(&body)).await
    }

    pub async fn delete_view(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &["v1", "views", name])).await.map(drop)
    }
}
