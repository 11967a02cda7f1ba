//! `GET /v1/compare?runs=1,2`: several runs side by side.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use trainyard_wire::compare::{ComparedRun, Comparison, Difference};
use trainyard_wire::run::Run;
use trainyard_wire::{Problem, RunId};
use utoipa::IntoParams;

use super::app::Shared;
use super::extract::Query;
use super::problem::ApiError;

/// Most runs of a comparison.
const MOST_RUNS: usize = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// Ids, separated by commas; at most 50.
    runs: String,
}

/// Compares runs: the settings in which they differ, their metrics and their results.
#[utoipa::path(get, path = "/v1/compare", tag = "runs", params(CompareQuery),
    responses((status = 200, body = Comparison), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Query(query): Query<CompareQuery>) -> Result<JsonAnswer<Comparison>, ApiError> {
    let ids = ids(&query.runs)?;
    let found = app.store.runs_by_id(&ids).await?;
    let mut by_id: BTreeMap<RunId, Run> = found.into_iter().map(|run| (run.id, run)).collect();
    let runs = ids.iter().map(|id| by_id.remove(id).ok_or_else(|| super::runs::no_run(*id))).collect::<Result<Vec<_>, _>>()?;
    compare(runs).map(JsonAnswer)
}

fn ids(text: &str) -> Result<Vec<RunId>, ApiError> {
    let ids: Result<Vec<RunId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|_| ApiError::query("runs", "must be ids, separated by commas"))?;
    let distinct: BTreeSet<_> = ids.iter().collect();
    if ids.len() > MOST_RUNS || distinct.len() != ids.len() {
        return Err(ApiError::query("runs", format!("must be at most {MOST_RUNS} ids, each once")));
    }
    Ok(ids)
}

fn compare(runs: Vec<Run>) -> Result<Comparison, ApiError> {
    let specs = runs.iter().map(|run| serde_json::to_value(&run.spec)).collect::<Result<Vec<_>, _>>().map_err(ApiError::internal)?;
    let settings: Vec<BTreeMap<String, Value>> = specs.into_iter().map(flatten).collect();
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.summary.keys()).collect();
    let metrics = names.into_iter().map(|name| (name.clone(), runs.iter().map(|run| run.summary.get(name).cloned()).collect())).collect();
    Ok(Comparison {
        differences: differences(&settings),
        metrics,
        runs: runs
            .into_iter()
            .map(|run| ComparedRun { id: run.id, name: run.name, state: run.state, stop_reason: run.stop_reason, result: run.result })
            .collect(),
    })
}

fn differences(settings: &[BTreeMap<String, Value>]) -> Vec<Difference> {
    let paths: BTreeSet<&String> = settings.iter().flat_map(BTreeMap::keys).collect();
    let values = |path: &String| settings.iter().map(|spec| spec.get(path).cloned().unwrap_or(Value::Null)).collect::<Vec<_>>();
    let all = paths.into_iter().map(|path| Difference { path: path.clone(), values: values(path) });
    all.filter(|difference| difference.values.windows(2).any(|pair| pair[0] != pair[1])).collect()
}

/// The leaves of an object by their dotted paths; arrays are leaves.
pub(crate) fn flatten(spec: Value) -> BTreeMap<String, Value> {
    fn walk(value: Value, path: String, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(value, if path.is_empty() { name } else { format!("{path}.{name}") }, leaves);
                }
            }
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk(spec, String::new(), &mut leaves);
    leaves
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{differences, flatten, ids};

    #[test]
    fn only_the_settings_that_differ_are_told() {
        let specs = [
            json!({"kind": "regression", "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 5}),
            json!({"kind": "regression", "optimizer": {"name": "sgd", "learning_rate": 0.1, "batch_size": 2}, "steps": 5}),
        ];
        let found = differences(&specs.map(flatten));
        let found: Vec<_> = found.iter().map(|difference| (difference.path.as_str(), difference.values.clone())).collect();
        assert_eq!(found, [("optimizer.batch_size", vec![json!(null), json!(2)]), ("optimizer.name", vec![json!("gd"), json!("sgd")]),]);
    }

    #[test]
    fn ids_are_numbers_each_once() {
        assert!(ids("1, 2,3").is_ok());
        for wrong in ["", "1,", "1,1", "one"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
    }
}
