-- What MLflow's clients call experiments. One with a kind holds all trained runs of it; the others hold external runs.
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT UNIQUE,
    tags TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO experiments (id, name, kind, tags, created_at, updated_at)
SELECT column1, column2, column3, '{}', now.time, now.time
FROM (VALUES
    (0, 'Default', NULL),
    (1, 'regression', 'regression'),
    (2, 'regularization_pair', 'regularization_pair'),
    (3, 'hypergradient', 'hypergradient'),
    (4, 'colourization', 'colourization')
), (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS time) AS now;

-- The experiment of each external run.
CREATE TABLE external_runs (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id),
    experiment_id INTEGER NOT NULL REFERENCES experiments (id)
) STRICT;

-- Runs that an MLflow client has deleted: its searches leave them out until it restores them. Nothing of them goes.
CREATE TABLE runs_deleted_in_mlflow (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id),
    deleted_at INTEGER NOT NULL
) STRICT;

-- What a search of an MLflow client looks at.
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
WHERE runs.deleted_at IS NULL;
