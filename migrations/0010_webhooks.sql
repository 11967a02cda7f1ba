-- Addresses that are told of the ends of runs.
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    url TEXT NOT NULL,
    -- A JSON list of words.
    states TEXT NOT NULL,
    -- NULL: of any, and of none.
    project TEXT,
    -- A JSON object; a run has all of them.
    tags TEXT NOT NULL,
    -- Itself and not its hash: every message is signed with it.
    secret TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

-- Messages to them, written in the transactions in which the runs end. A message outlives its run.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    run_id INTEGER,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
    attempts INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    last_attempt_at INTEGER,
    -- Of one that waits.
    next_attempt_at INTEGER
) STRICT;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, id);
CREATE INDEX waiting_deliveries ON deliveries (webhook_id, next_attempt_at, id) WHERE state = 'waiting';
