-- What people note on runs, and the runs that lists leave out.

ALTER TABLE jobs ADD COLUMN project TEXT;

-- Where a run differs from its job: NULL is the job's. An own project that is empty is none; own tags are a merge patch (RFC 7396) of
-- the job's.
ALTER TABLE runs ADD COLUMN own_name TEXT;
ALTER TABLE runs ADD COLUMN own_project TEXT;
ALTER TABLE runs ADD COLUMN own_tags TEXT;
ALTER TABLE runs ADD COLUMN notes TEXT;
ALTER TABLE runs ADD COLUMN archived_at INTEGER;
-- 0: its removal has begun.
ALTER TABLE runs ADD COLUMN deleted_at INTEGER;
-- Executes another run again (jobs.verifies).
ALTER TABLE runs ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET hidden = 1 WHERE job_id IN (SELECT id FROM jobs WHERE verifies IS NOT NULL);
-- 0: lists show it; 1: archived; 2: only shown with its job; 3: deleted.
ALTER TABLE runs ADD COLUMN shelf INTEGER GENERATED ALWAYS AS (
    CASE WHEN deleted_at IS NOT NULL THEN 3 WHEN hidden THEN 2 WHEN archived_at IS NOT NULL THEN 1 ELSE 0 END
) VIRTUAL;

-- Counts are read from here alone.
CREATE INDEX runs_on_shelf ON runs (shelf, state, kind, job_id, own_project);
DROP INDEX runs_of_job;
CREATE INDEX runs_of_job ON runs (job_id, state, shelf);
CREATE INDEX runs_by_optimizer ON runs (spec ->> '$.optimizer.name');
CREATE INDEX runs_by_network ON runs (spec ->> '$.network.name');
CREATE INDEX deleted_runs ON runs (deleted_at) WHERE deleted_at IS NOT NULL;
-- What goes with a run that is removed.
CREATE INDEX verifications_by_run ON verifications (again_id);
CREATE INDEX verifying_jobs ON jobs (verifies) WHERE verifies IS NOT NULL;

-- Queries of GET /v1/runs under a name.
CREATE TABLE views (
    name TEXT PRIMARY KEY,
    query TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

DROP VIEW run_rows;
CREATE VIEW run_rows AS
SELECT
    runs.id, runs.job_id, COALESCE(runs.own_name, jobs.name) AS name, NULLIF(COALESCE(runs.own_project, jobs.project), '') AS project,
    CASE WHEN runs.own_tags IS NULL THEN jobs.tags ELSE json_patch(jobs.tags, runs.own_tags) END AS tags, runs.notes, runs.kind,
    runs.priority, runs.state, runs.stop_reason, runs.error, runs.spec, runs.sweep_point, runs.attempt, runs.worker_id, runs.requested,
    runs.step, runs.total_steps, runs.epoch, runs.eta_seconds, runs.result, runs.revision, runs.created_at, runs.started_at,
    runs.finished_at, runs.archived_at, runs.shelf, jobs.verifies
FROM runs JOIN jobs ON jobs.id = runs.job_id
WHERE runs.deleted_at IS NULL;
