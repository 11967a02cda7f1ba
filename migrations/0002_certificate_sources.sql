-- Where a certificate's formula comes from; empty for those of earlier workers.
ALTER TABLE certificates ADD COLUMN source TEXT NOT NULL DEFAULT '';

-- What could not be certified on a run, and why.
CREATE TABLE left_out_certificates (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    claim TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run_id, claim)
) STRICT;
