//! What people note on runs, the projects that come of it, named views of the list of runs, and what is asked of many runs at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::problem::FieldError;
use crate::spec::strict::escape;
use crate::state::words;
use crate::{RunId, RunState, Timestamp};

/// Most tags of a job, and of a run.
pub const MOST_TAGS: usize = 64;
/// Most runs that one request may name to act on.
pub const MOST_ACTED: usize = 1000;
/// Most runs that one request may act on by a query.
pub const MOST_MATCHING: usize = 20_000;

/// The body of `PATCH /v1/runs/{id}`, a JSON merge patch: what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunPatch {
    /// 1 to 200 characters; null: the job's.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Option<String>>,
    /// 1 to 100 characters; null: in none, also where the job is in one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub project: Option<Option<String>>,
    /// At most 20,000 characters; null: none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub notes: Option<Option<String>>,
    /// Tags to set, and with null those to take away, also of the job's.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    /// Lists leave archived runs out unless they are asked for.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool)]
    pub archived: Option<bool>,
}

/// Some, also for null: what is left out is another thing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl RunPatch {
    /// What is wrong with it.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        errors.name(self.name.as_ref().and_then(Option::as_deref));
        errors.project(self.project.as_ref().and_then(Option::as_deref));
        let notes = self.notes.as_ref().and_then(Option::as_deref).unwrap_or_default();
        errors.check(notes.chars().count() <= 20_000, "/notes", "must have at most 20000 characters");
        self.tags.iter().for_each(|tags| errors.patch_of_tags(tags));
        errors.0
    }
}

/// What is wrong with the texts that people give to jobs and runs.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<FieldError>);

impl Errors {
    pub(crate) fn check(&mut self, holds: bool, pointer: &str, detail: &str) {
        if !holds {
            self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
        }
    }

    pub(crate) fn name(&mut self, name: Option<&str>) {
        self.check(name.is_none_or(|name| is_short(name, 200)), "/name", "must have 1 to 200 characters");
    }

    pub(crate) fn project(&mut self, project: Option<&str>) {
        let is_project = |text: &str| is_short(text, 100) && text.trim() == text && !text.chars().any(char::is_control);
        self.check(project.is_none_or(is_project), "/project", "must have 1 to 100 characters of one line, without space around them");
    }

    pub(crate) fn tags<'a>(&mut self, tags: impl Iterator<Item = (&'a String, &'a str)>) {
        let mut count = 0;
        for (tag, value) in tags {
            count += 1;
            let fits = is_short(tag, 100) && value.chars().count() <= 500;
            self.check(fits, &format!("/tags/{}", escape(tag)), "must be a name of 1 to 100 characters and a value of at most 500");
        }
        self.check(count <= MOST_TAGS, "/tags", "must be at most 64");
    }

    fn patch_of_tags(&mut self, tags: &BTreeMap<String, Option<String>>) {
        self.tags(tags.iter().map(|(tag, value)| (tag, value.as_deref().unwrap_or_default())));
    }
}

fn is_short(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most
}

/// The runs of one project, as `GET /v1/projects` counts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    pub name: String,
    /// Without those that are archived.
    pub run_count: u64,
    /// How many of them are in each state; states without a run are left out.
    pub states: BTreeMap<RunState, u64>,
    pub archived_count: u64,
}

/// A query of `GET /v1/runs` under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct View {
    pub name: String,
    /// As in the address, without the `?`: `state=failed&sort=-created`.
    pub query: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The body of `PUT /v1/views/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutView {
    /// As in the address, without the `?` and without `cursor`: `state=failed&sort=-created`.
    pub query: String,
}

words!(
    /// What can be done to many runs at once.
    BulkAction {
        Cancel = "cancel",
        Pause = "pause",
        Resume = "resume",
        Retry = "retry",
        Archive = "archive",
        Unarchive = "unarchive",
        /// Hides them; the server removes them for good after a while.
        Delete = "delete",
        /// Takes a delete back.
        Restore = "restore",
        /// Sets tags and takes tags away, as `tags` says.
        Tag = "tag",
    }
);

/// The body of `POST /v1/runs/actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunsAction {
    pub action: BulkAction,
    /// 1 to 1000; not with `matching`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Vec<RunId>>,
    /// Instead of `runs`: all runs that match now, at most 20,000, as a query of `GET /v1/runs` without the `?`, without `limit` and `cursor`:
    /// `state=queued&project=digits`. Empty: all runs that are not archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// Of `tag`: the tags to set, and with null those to take away, as in `PATCH /v1/runs/{id}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Option<String>>,
}

impl RunsAction {
    /// On these runs.
    pub fn on(action: BulkAction, runs: Vec<RunId>) -> Self {
        Self { action, runs: Some(runs), matching: None, tags: BTreeMap::new() }
    }

    /// What is wrong with its tags.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let fits = self.tags.is_empty() != (self.action == BulkAction::Tag);
        errors.check(fits, "/tags", "must name what the action `tag` sets or takes away, and goes with no other action");
        errors.patch_of_tags(&self.tags);
        errors.0
    }
}

/// The answer of `POST /v1/runs/actions`: what became of each run, in the order of the request or of the list that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunsActed {
    pub outcomes: Vec<ActedRun>,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActedRun {
    pub run_id: RunId,
    pub outcome: ActOutcome,
    /// The run's state then; null where it is missing or deleted.
    pub state: Option<RunState>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

words!(
    /// What became of an action on a run.
    ActOutcome {
        /// It was done, or its worker was asked to.
        Done = "done",
        /// It was so already.
        Unchanged = "unchanged",
        /// It is not legal in the run's state, or the run would have too many tags; nothing changed.
        Refused = "refused",
        /// There is no such run.
        Missing = "missing",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_tells_what_is_left_out_from_null() {
        let patch: RunPatch = serde_json::from_str(r#"{"name": null, "tags": {"a": null, "b": "c"}}"#).unwrap();
        assert_eq!((&patch.name, &patch.project), (&Some(None), &None));
        assert_eq!(patch.tags, Some([("a".to_owned(), None), ("b".to_owned(), Some("c".to_owned()))].into()));
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"name":null,"tags":{"a":null,"b":"c"}}"#);
        for wrong in [r#"{"tags": null}"#, r#"{"archived": null}"#, r#"{"state": "failed"}"#] {
            assert!(serde_json::from_str::<RunPatch>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_go_with_the_action_that_sets_them_and_with_no_other() {
        let pointers = |asked: &str| -> Vec<String> {
            let asked: RunsAction = serde_json::from_str(asked).unwrap();
            asked.check().into_iter().map(|error| error.pointer).collect()
        };
        assert!(pointers(r#"{"action": "tag", "runs": [1], "tags": {"a": "b", "c": null}}"#).is_empty());
        assert!(pointers(r#"{"action": "pause", "runs": [1]}"#).is_empty());
        assert_eq!(pointers(r#"{"action": "tag", "runs": [1]}"#), ["/tags"]);
        assert_eq!(pointers(r#"{"action": "pause", "runs": [1], "tags": {"a": null}}"#), ["/tags"]);
        assert_eq!(pointers(r#"{"action": "tag", "runs": [1], "tags": {"": "b"}}"#), ["/tags/"]);
    }

    #[test]
    fn the_texts_of_a_patch_are_bounded() {
        let pointer = |patch: &str| -> Vec<String> {
            let patch: RunPatch = serde_json::from_str(patch).unwrap();
            patch.check().into_iter().map(|error| error.pointer).collect()
        };
        assert!(pointer(r#"{"name": "a", "project": "two words", "notes": "", "tags": {"a": ""}, "archived": true}"#).is_empty());
        assert_eq!(pointer(r#"{"name": "", "project": " a", "tags": {"": "b"}}"#), ["/name", "/project", "/tags/"]);
        assert_eq!(pointer("{\"project\": \"a\\nb\"}"), ["/project"]);
        assert_eq!(pointer(&format!(r#"{{"notes": "{}"}}"#, "a".repeat(20_001))), ["/notes"]);
    }
}
