//! The verbs on runs and jobs: cancel, pause, resume, retry. Repeating one changes nothing; one that the state does not allow is a 409
//! that names the state.

use axum::Json;
use axum::extract::State;
use trainyard_wire::job::Job;
use trainyard_wire::run::Run;
use trainyard_wire::{JobId, Problem, RunId};

use super::app::Shared;
use super::extract::Path;
use super::problem::ApiError;
use crate::store::{Action, ActionError};

/// The four verbs of runs, or of jobs, each a route of its own.
macro_rules! actions {
    ($resource:ident, $id:ty, $call:ident, $tag:literal, $conflict:literal: $($name:ident $action:ident $path:literal $doc:literal),+ $(,)?) => {
        $(
            #[doc = $doc]
            #[utoipa::path(post, path = $path, tag = $tag, params(("id" = i64, Path)),
                responses((status = 200, description = "As it is now", body = $resource),
                    (status = 404, description = "No such thing", body = Problem, content_type = "application/problem+json"),
                    (status = 409, description = $conflict, body = Problem, content_type = "application/problem+json")))]
            pub(crate) async fn $name(State(app): State<Shared>, Path(id): Path<$id>) -> Result<Json<$resource>, ApiError> {
                app.store.$call(id, Action::$action).await.map(Json).map_err(error)
            }
        )+
    };
}

actions!(Run, RunId, run_action, "runs", "Not legal in the run's state":
    cancel_run Cancel "/v1/runs/{id}/cancel" "Cancels a run; one that is running ends at its next step.",
    pause_run Pause "/v1/runs/{id}/pause" "Holds a run back; one that is running leaves a checkpoint first.",
    resume_run Resume "/v1/runs/{id}/resume" "Queues a paused run again; it goes on at its checkpoint.",
    retry_run Retry "/v1/runs/{id}/retry" "Queues a run that failed or was cancelled again.",
);

actions!(Job, JobId, job_action, "jobs", "Legal for none of its runs":
    cancel_job Cancel "/v1/jobs/{id}/cancel" "Cancels all runs of a job that can be cancelled.",
    pause_job Pause "/v1/jobs/{id}/pause" "Holds back all runs of a job that can be paused.",
    resume_job Resume "/v1/jobs/{id}/resume" "Queues all paused runs of a job again.",
    retry_job Retry "/v1/jobs/{id}/retry" "Queues all runs of a job again that failed or were cancelled.",
);

fn error(error: ActionError) -> ApiError {
    match error {
        ActionError::NotFound => ApiError::NotFound(error.to_string()),
        ActionError::Illegal { .. } | ActionError::External { .. } | ActionError::Picture => ApiError::Conflict(error.to_string()),
        ActionError::Store(error) => error.into(),
    }
}
