-- Whoever follows all runs asks for those that changed after a revision.
CREATE INDEX runs_by_revision ON runs (revision);

-- What a worker's results depend on beside the spec: its build, and the instructions that its kernels use.
ALTER TABLE workers ADD COLUMN build TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN instructions TEXT NOT NULL DEFAULT '';

-- The run that a job's only run executes again. Lists leave such jobs and runs out.
ALTER TABLE jobs ADD COLUMN verifies INTEGER REFERENCES runs (id);

CREATE TABLE verifications (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id),
    -- The run that executes it again.
    again_id INTEGER NOT NULL REFERENCES runs (id),
    requested_at INTEGER NOT NULL,
    -- Set once the two were compared.
    verdict TEXT,
    findings TEXT,
    compared_at INTEGER
) STRICT;
CREATE INDEX open_verifications ON verifications (again_id) WHERE verdict IS NULL;

-- The attempt that told the progress: one of its reports that comes again late does not turn it back.
ALTER TABLE runs ADD COLUMN progress_attempt INTEGER NOT NULL DEFAULT 0;

DROP VIEW run_rows;
CREATE VIEW run_rows AS
SELECT
    runs.id, runs.job_id, jobs.name, jobs.tags, runs.kind, runs.priority, runs.state, runs.stop_reason, runs.error, runs.spec,
    runs.sweep_point, runs.attempt, runs.worker_id, runs.requested, runs.step, runs.total_steps, runs.epoch, runs.eta_seconds,
    runs.result, runs.revision, runs.created_at, runs.started_at, runs.finished_at, jobs.verifies
FROM runs JOIN jobs ON jobs.id = runs.job_id;
