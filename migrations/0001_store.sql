-- Times are milliseconds since the Unix epoch. Hashes of contents are lower-case hexadecimal SHA-256. A REAL that is NaN is NULL.
-- Words (states, kinds, outcomes) are those of the wire crate.

-- The one counter that every visible change increments.
CREATE TABLE revision (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revision (only, value) VALUES (1, 0);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    name TEXT,
    tags TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL,
    sweep TEXT,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- The numbers of inline problems: n·d of X, row after row, then n of t, as little-endian doubles.
CREATE TABLE problems (
    sha256 TEXT PRIMARY KEY,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    numbers BLOB NOT NULL
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs (id),
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL,
    small INTEGER NOT NULL,
    -- Without the numbers of an inline problem.
    spec TEXT NOT NULL,
    problem_sha256 TEXT REFERENCES problems (sha256),
    sweep_point TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'paused', 'running', 'succeeded', 'failed', 'cancelled')),
    stop_reason TEXT,
    error TEXT,
    result TEXT,
    -- The fencing number: how often the run was claimed.
    attempt INTEGER NOT NULL DEFAULT 0,
    -- Attempts lost in a row without a new checkpoint between them.
    lost_attempts INTEGER NOT NULL DEFAULT 0,
    -- A worker may be forgotten while its runs are remembered.
    worker_id INTEGER,
    requested TEXT,
    -- The last attempt that its worker ended, and how: a repeat of that report is no news and no error.
    ended_attempt INTEGER,
    ended_outcome TEXT,
    step INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER,
    eta_seconds REAL,
    checkpoint_sha256 TEXT,
    checkpoint_step INTEGER,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER
) STRICT;
-- The queue, in the order in which it is served.
CREATE INDEX queued_runs ON runs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX runs_of_job ON runs (job_id, state);
CREATE INDEX runs_in_state ON runs (state, id);

-- What an answer tells of a run, but for its metrics.
CREATE VIEW run_rows AS
SELECT
    runs.id, runs.job_id, jobs.name, jobs.tags, runs.kind, runs.priority, runs.state, runs.stop_reason, runs.error, runs.spec,
    runs.sweep_point, runs.attempt, runs.worker_id, runs.requested, runs.step, runs.total_steps, runs.epoch, runs.eta_seconds,
    runs.result, runs.revision, runs.created_at, runs.started_at, runs.finished_at
FROM runs JOIN jobs ON jobs.id = runs.job_id;

CREATE TABLE events (
    revision INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_run ON events (run_id, revision);

-- One metric of one run, with what its run's answer tells of it.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    points INTEGER NOT NULL DEFAULT 0,
    last REAL,
    last_step INTEGER NOT NULL DEFAULT 0,
    minimum REAL,
    maximum REAL,
    UNIQUE (run_id, name)
) STRICT;

CREATE TABLE metrics (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    occurrence INTEGER NOT NULL,
    value REAL,
    time INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (series_id, step, occurrence)
) STRICT, WITHOUT ROWID;

-- Doubles reach the metrics as a whole number times a power of two: SQLite's own reading of decimal numbers is wrong in the last bit
-- now and then. Doubling and halving are exact.
CREATE TABLE powers_of_two (
    exponent INTEGER PRIMARY KEY,
    value REAL NOT NULL
) STRICT;
INSERT INTO powers_of_two
WITH RECURSIVE up (exponent, value) AS (SELECT 0, 1.0 UNION ALL SELECT exponent + 1, value * 2.0 FROM up WHERE exponent < 1023)
SELECT * FROM up;
INSERT INTO powers_of_two
WITH RECURSIVE down (exponent, value) AS (SELECT -1, 0.5 UNION ALL SELECT exponent - 1, value / 2.0 FROM down WHERE exponent > -1074)
SELECT * FROM down;

-- Where the points of a revision begin, so that a poller's question touches only what is new to it.
CREATE TABLE metric_batches (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    revision INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    PRIMARY KEY (series_id, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    time INTEGER NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX logs_of_run ON logs (run_id, time);

CREATE TABLE certificates (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    claim TEXT NOT NULL,
    formula TEXT NOT NULL,
    predicted REAL,
    measured REAL,
    tolerance REAL,
    holds INTEGER NOT NULL,
    PRIMARY KEY (run_id, claim)
) STRICT;

-- Contents in the folder of blobs that something refers to, or did until the next sweep.
CREATE TABLE blobs (
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT;

CREATE TABLE artifacts (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs (sha256),
    attempt INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT;
CREATE INDEX artifacts_of_blob ON artifacts (sha256);

CREATE TABLE datasets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    columns TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE dataset_files (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs (sha256),
    records INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, position)
) STRICT;
CREATE INDEX dataset_files_of_blob ON dataset_files (sha256);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- Not a foreign key into tokens: 0 stands for requests without one.
CREATE TABLE idempotency_keys (
    token_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (token_id, key)
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- AUTOINCREMENT: the id of a forgotten worker is never given to another.
CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    device TEXT NOT NULL,
    threads INTEGER NOT NULL,
    version TEXT NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT;
