-- Question: which models are to be trained again, how far has that come, and who moved it?
-- Applied once by collector/src/database.rs.
-- What was asked for stays, with the bytes that were sent; steps say what became of it.

CREATE TABLE retraining (
    id           TEXT PRIMARY KEY,
    service      TEXT NOT NULL,
    model        TEXT NOT NULL,
    version      TEXT NOT NULL,     -- whose outputs drifted
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'requested', 'accepted', 'running',
                     'succeeded', 'proven', 'unproven', 'failed', 'declined', 'cancelled',
                     'expired')),
    requested_by TEXT NOT NULL,     -- 'drift', or a name
    cause        TEXT,              -- id of the event that led to it
    created_us   INTEGER NOT NULL,
    changed_us   INTEGER NOT NULL,
    new_version  TEXT,
    body         TEXT NOT NULL,     -- JSON: what is asked, brief included
    looks        INTEGER NOT NULL,  -- how often the new version was looked at
    proof        TEXT               -- what the last look found, in words
) STRICT;
CREATE INDEX retraining_by_model ON retraining (service, model, created_us);

-- Whoever asks twice at once is refused by this, whatever else is checked before.
CREATE UNIQUE INDEX retraining_one_open ON retraining (service, model)
    WHERE state IN ('waiting', 'requested', 'accepted', 'running', 'succeeded');

CREATE TABLE retraining_steps (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL REFERENCES retraining (id),
    time_us INTEGER NOT NULL,
    state   TEXT NOT NULL,
    by      TEXT NOT NULL,
    detail  TEXT                    -- why, or which version
) STRICT;
CREATE INDEX retraining_steps_by_request ON retraining_steps (request, id);

-- Reports of trainers that were taken, so that one sent again changes nothing.
CREATE TABLE retraining_reports (
    message TEXT PRIMARY KEY,       -- webhook-id
    request TEXT NOT NULL REFERENCES retraining (id),
    digest  BLOB NOT NULL           -- SHA-256 of the body
) STRICT;
