-- The run whose model colours the picture of a job's only run. Lists leave such jobs and runs out.
ALTER TABLE jobs ADD COLUMN model_run_id INTEGER REFERENCES runs (id);
CREATE INDEX jobs_of_pictures ON jobs (model_run_id) WHERE model_run_id IS NOT NULL;

-- What a search of an MLflow client looks at: pictures are in no experiment.
DROP VIEW searched_runs;
CREATE VIEW searched_runs AS
SELECT
    runs.id, runs.job_id, COALESCE(runs.own_name, jobs.name) AS name,
    CASE WHEN runs.own_tags IS NULL THEN jobs.tags ELSE json_patch(jobs.tags, runs.own_tags) END AS tags,
    runs.kind, runs.state, runs.stop_reason, runs.spec, runs.created_at, runs.started_at,
    runs.finished_at, jobs.verifies, COALESCE(external_runs.experiment_id, experiments.id, 0) AS experiment_id,
    runs_deleted_in_mlflow.run_id IS NOT NULL AS deleted
FROM runs
    JOIN jobs ON jobs.id = runs.job_id
    LEFT JOIN external_runs ON external_runs.run_id = runs.id
    LEFT JOIN experiments ON experiments.kind = runs.kind
    LEFT JOIN runs_deleted_in_mlflow ON runs_deleted_in_mlflow.run_id = runs.id
WHERE runs.deleted_at IS NULL AND jobs.model_run_id IS NULL;
