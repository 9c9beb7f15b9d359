-- Question: what is told to whom, what waits, what was given up, and which alerts go on?
-- Applied once by collector/src/database.rs, which then sets user_version to 6.
-- The outbox is built anew because a letter has one more state and knows what it is about. Letters
-- that are on their way are never forgotten; of the others the newest are kept.

CREATE TABLE letters (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id        TEXT NOT NULL,
    endpoint        TEXT NOT NULL,      -- name in the configuration, which holds the URL
    kind            TEXT NOT NULL,
    subject         TEXT NOT NULL,      -- what the event is about, such as a series
    body            TEXT NOT NULL,      -- the event, as its bytes are sent at every attempt
    created_us      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0, -- in all: numbers them
    tries           INTEGER NOT NULL DEFAULT 0, -- since it was put, sent again or its endpoint enabled
    next_attempt_us INTEGER NOT NULL,
    state           TEXT NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending', 'delivered', 'failed', 'stopped', 'overtaken')),
    UNIQUE (event_id, endpoint)
) STRICT;

CREATE TABLE letter_attempts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    outbox     INTEGER NOT NULL REFERENCES letters (id),
    number     INTEGER NOT NULL,        -- from 1; the newest are kept
    started_us INTEGER NOT NULL,
    ended_us   INTEGER NOT NULL,
    status     INTEGER,                 -- HTTP status, if there was an answer
    outcome    TEXT NOT NULL            -- 'delivered', or what went wrong
) STRICT;

INSERT INTO letters
    (id, event_id, endpoint, kind, subject, body, created_us, attempts, tries, next_attempt_us, state)
SELECT o.id, o.event_id, o.endpoint, o.kind, coalesce(e.subject, ''), o.body, o.created_us,
       o.attempts, o.attempts, o.next_attempt_us, o.state
FROM outbox o LEFT JOIN events e ON e.event_id = o.event_id;

INSERT INTO letter_attempts SELECT * FROM attempts;

DROP TABLE attempts;
DROP TABLE outbox;
ALTER TABLE letters RENAME TO outbox;
ALTER TABLE letter_attempts RENAME TO attempts;
CREATE INDEX outbox_due ON outbox (endpoint, state, next_attempt_us);
CREATE INDEX outbox_by_subject ON outbox (endpoint, subject, id);
CREATE INDEX attempts_by_outbox ON attempts (outbox, number);

-- Alerts that an Alertmanager was told of and that go on: it forgets what nobody repeats.
CREATE TABLE firing_alerts (
    endpoint TEXT NOT NULL,
    subject  TEXT NOT NULL,
    event_id TEXT NOT NULL,
    body     TEXT NOT NULL,             -- the event that fired
    next_us  INTEGER NOT NULL,          -- when it is told again
    PRIMARY KEY (endpoint, subject)
) STRICT, WITHOUT ROWID;
