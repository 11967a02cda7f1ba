-- The token that a worker registered with, which alone speaks for it, and the bytes it has for a run (NULL: any number). A worker of an
-- earlier server has no token: it registers again.
ALTER TABLE workers ADD COLUMN token_id INTEGER;
ALTER TABLE workers ADD COLUMN memory_bytes INTEGER;

-- The estimate of the submit; 0 for runs of earlier servers.
ALTER TABLE runs ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;

-- A worker passes over the runs that are too large for it, so the index tells how large they are.
DROP INDEX queued_runs;
CREATE INDEX queued_runs ON runs (priority DESC, id, memory_bytes) WHERE state = 'queued';
