//! Files of runs, in MLflow's two ways: `artifacts/list` tells which there are, and the artifact proxy (`/api/2.0/mlflow-artifacts`) lists,
//! sends and takes them under `EXPERIMENT/RUN/artifacts/NAME`, the address that a run's `artifact_uri` gives.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trainyard_wire::RunId;
use trainyard_wire::run::Artifact;
use utoipa::{IntoParams, ToSchema};

use super::{MlflowNothing, run_id, runs};
use crate::http::app::{App, Shared};
use crate::http::artifacts::send;
use crate::http::external::receive;
use crate::http::extract::{Path, Query};
use crate::http::problem::ApiError;
use crate::http::runs::no_run;
use crate::store::{ArtifactFile, Late};

#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct MlflowFile {
    path: String,
    is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowFiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    root_uri: Option<String>,
    files: Vec<MlflowFile>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ArtifactsQuery {
    run_id: Option<String>,
    /// The same, by its earlier name.
    run_uuid: Option<String>,
    /// A folder of the run's files.
    path: Option<String>,
    /// Every answer is whole, so there is none.
    page_token: Option<String>,
}

/// The files of a run in one folder.
#[utoipa::path(get, path = "/api/2.0/mlflow/artifacts/list", tag = "mlflow", params(ArtifactsQuery),
    responses((status = 200, body = MlflowFiles)))]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<ArtifactsQuery>) -> Result<JsonAnswer<MlflowFiles>, ApiError> {
    if query.page_token.is_some_and(|token| !token.is_empty()) {
        return Err(ApiError::query("page_token", "is none that this server gave out"));
    }
    let id = run_id(query.run_id.as_deref().or(query.run_uuid.as_deref()).unwrap_or_default())?;
    let folder = query.path.unwrap_or_default();
    let mut files = files(&app, id, &folder).await?;
    let folder = folder.trim_matches('/');
    for file in files.iter_mut().filter(|_| !folder.is_empty()) {
        file.path = format!("{folder}/{}", file.path);
    }
    let root_uri = Some(runs::one(&app, id).await?.info().artifact_uri);
    Ok(JsonAnswer(MlflowFiles { root_uri, files }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProxiedFolder {
    /// `EXPERIMENT/RUN/artifacts/FOLDER`
    path: Option<String>,
}

/// The files of a run in one folder, by the address of the folder.
#[utoipa::path(get, path = "/api/2.0/mlflow-artifacts/artifacts", tag = "mlflow", params(ProxiedFolder),
    responses((status = 200, body = MlflowFiles)))]
pub(crate) async fn list_proxied(
    State(app): State<Shared>,
    Query(query): Query<ProxiedFolder>,
) -> Result<JsonAnswer<MlflowFiles>, ApiError> {
    let (id, folder) = address(query.path.as_deref().unwrap_or_default())?;
    Ok(JsonAnswer(MlflowFiles { root_uri: None, files: files(&app, id, folder).await? }))
}

/// The run and the name of a file that an address means.
fn address(path: &str) -> Result<(RunId, &str), ApiError> {
    let mut parts = path.trim_matches('/').splitn(4, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(experiment), Some(run), Some("artifacts")) if experiment.parse::<i64>().is_ok() => {
            Ok((run_id(run)?, parts.next().unwrap_or_default()))
        }
        _ => Err(ApiError::not_found(format!("the artifact `{path}`"))),
    }
}

async fn files(app: &App, id: RunId, folder: &str) -> Result<Vec<MlflowFile>, ApiError> {
    let artifacts = app.store.artifacts(id).await?.ok_or_else(|| no_run(id))?;
    Ok(in_folder(&artifacts.artifacts, folder))
}

/// What a folder has: its files, and its folders without what is in them.
fn in_folder(artifacts: &[Artifact], folder: &str) -> Vec<MlflowFile> {
    let folder = folder.trim_matches('/');
    let mut found: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for artifact in artifacts {
        let rest = match folder {
            "" => Some(artifact.name.as_str()),
            folder => artifact.name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        match rest.map(|rest| rest.split_once('/').ok_or(rest)) {
            Some(Ok((inner, _))) => drop(found.insert(inner, None)),
            Some(Err(name)) => drop(found.entry(name).or_insert(Some(artifact.size))),
            None => {}
        }
    }
    let file = |(path, file_size): (&str, Option<u64>)| MlflowFile { path: path.to_owned(), is_dir: file_size.is_none(), file_size };
    found.into_iter().map(file).collect()
}

/// The bytes of a file, by its address `EXPERIMENT/RUN/artifacts/NAME`.
#[utoipa::path(get, path = "/api/2.0/mlflow-artifacts/artifacts/{*path}", tag = "mlflow", params(("path" = String, Path)),
    responses((status = 200, description = "The bytes", content_type = "*/*", body = Vec<u8>),
        (status = 206, description = "The range", content_type = "*/*", body = Vec<u8>), (status = 304, description = "The same bytes")))]
pub(crate) async fn download(State(app): State<Shared>, Path(path): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let (id, name) = address(&path)?;
    let found = app.store.artifact(id, name).await?;
    let ArtifactFile { artifact, file } = found.ok_or_else(|| ApiError::not_found(format!("the artifact `{name}` of run {id}")))?;
    send(&artifact, file, &headers).await
}

/// Stores a file of an external run under its address `EXPERIMENT/RUN/artifacts/NAME`.
#[utoipa::path(put, path = "/api/2.0/mlflow-artifacts/artifacts/{*path}", tag = "mlflow", params(("path" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn upload(
    State(app): State<Shared>,
    Path(path): Path<String>,
    request: Request,
) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let (id, name) = address(&path)?;
    receive(&app, id, name.to_owned(), Late::Taken, request).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

#[cfg(test)]
mod tests {
    use trainyard_wire::Timestamp;
    use trainyard_wire::run::Artifact;

    use super::{address, in_folder};

    #[test]
    fn a_folder_has_its_files_and_its_folders_and_nothing_deeper() {
        let artifact = |name: &str| Artifact {
            name: name.to_owned(),
            size: 7,
            sha256: String::new(),
            content_type: String::new(),
            created_at: Timestamp(0),
        };
        let artifacts = ["a.txt", "plots/loss.png", "plots/deep/x.png", "plots2/y.png"].map(artifact);
        let names = |folder: &str| -> Vec<(String, bool)> {
            in_folder(&artifacts, folder).into_iter().map(|file| (file.path, file.is_dir)).collect()
        };
        assert_eq!(names(""), [("a.txt".to_owned(), false), ("plots".to_owned(), true), ("plots2".to_owned(), true)]);
        assert_eq!(names("plots/"), [("deep".to_owned(), true), ("loss.png".to_owned(), false)]);
        assert_eq!(names("plots/loss.png"), []);
        assert_eq!(names("nothing"), []);
    }

    #[test]
    fn an_address_has_an_experiment_a_run_and_a_name() {
        assert_eq!(address("0/17/artifacts/plots/loss.png").unwrap().1, "plots/loss.png");
        assert_eq!(address("/0/17/artifacts").unwrap().1, "");
        for wrong in ["", "0", "0/17", "0/17/files/a", "x/17/artifacts/a", "0/x/artifacts/a", "17/artifacts/a"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
