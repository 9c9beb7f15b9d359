-- Question: what does the collector know that changes? (Everything that only grows is in Delta.)
-- Applied once by collector/src/database.rs, which then sets user_version to 1.
-- Times are microseconds since the Unix epoch, UTC. `id` columns only grow and are never reused.
-- Verdicts and events share one numbering ('row' in marks): their copies in the Delta tables are
-- ordered by it and name the last row that they hold.

-- How far something has come: 'judged_until' is the end of the last lane that was judged for every
-- series, 'row' the last number given to a verdict or an event.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

-- Frozen references. The newest row of a series is in force; older ones stay, because verdicts
-- cite them by hash. The body is postcard and not JSON: reading back must give the same bits.
CREATE TABLE frozen_references (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       TEXT NOT NULL,
    series     TEXT NOT NULL,
    name       TEXT NOT NULL,   -- the series in words
    body       BLOB NOT NULL,
    records    INTEGER NOT NULL,
    from_us    INTEGER NOT NULL,
    to_us      INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;
CREATE INDEX frozen_references_by_series ON frozen_references (series, id);
CREATE INDEX frozen_references_by_hash ON frozen_references (hash);

-- One row per watched series: the detector's state after the last lane it folded.
CREATE TABLE detectors (
    series          TEXT PRIMARY KEY,
    reference       TEXT NOT NULL,      -- hash
    policy          TEXT NOT NULL,      -- JSON; another policy restarts the detector
    state           BLOB NOT NULL,      -- postcard: the same bits after a restart
    began_us        INTEGER NOT NULL,   -- lanes that ended later are folded
    folded_until_us INTEGER NOT NULL
) STRICT;

-- What was judged. This is the truth; the Delta table `verdicts` is a copy.
CREATE TABLE verdicts (
    id              INTEGER PRIMARY KEY,
    time_us         INTEGER NOT NULL,   -- end of the lane
    series          TEXT NOT NULL,
    service         TEXT NOT NULL,
    device_class    TEXT NOT NULL,
    model           TEXT NOT NULL,
    version         TEXT NOT NULL,
    variant         TEXT NOT NULL,
    metric          TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('steady', 'drifting', 'undecided')),
    method          TEXT NOT NULL,
    score           REAL,
    threshold       REAL,
    count           INTEGER NOT NULL,
    effective_count REAL,
    devices         INTEGER NOT NULL,
    since_us        INTEGER,
    reference       TEXT,
    evidence        TEXT NOT NULL       -- JSON
) STRICT;
CREATE UNIQUE INDEX verdicts_once ON verdicts (time_us, series, revision);
CREATE INDEX verdicts_by_series ON verdicts (series, id);

-- The newest verdict of each series, so that neither pages nor the watcher search for it.
CREATE TABLE current_verdicts (
    series  TEXT PRIMARY KEY,
    verdict INTEGER NOT NULL REFERENCES verdicts (id)
) STRICT;

-- What was counted when a lane was judged, kept for a while to notice what arrived later.
CREATE TABLE judged_lanes (
    series   TEXT NOT NULL,
    time_us  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    late     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (series, time_us)
) STRICT, WITHOUT ROWID;

-- The alert of each series: what we last told others.
CREATE TABLE alert_states (
    series   TEXT PRIMARY KEY,
    state    TEXT NOT NULL CHECK (state IN ('steady', 'drifting')),
    since_us INTEGER NOT NULL
) STRICT;

-- What happened. The Delta table `events` is a copy.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY,
    time_us  INTEGER NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    body     TEXT NOT NULL      -- JSON
) STRICT;

-- Events to deliver, one row per endpoint, written with the state that caused them.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id        TEXT NOT NULL,
    endpoint        TEXT NOT NULL,      -- name in the configuration, which holds the URL
    kind            TEXT NOT NULL,
    body            TEXT NOT NULL,      -- the exact bytes that are signed and sent
    created_us      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_us INTEGER NOT NULL,
    state           TEXT NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending', 'delivered', 'failed', 'stopped')),
    UNIQUE (event_id, endpoint)
) STRICT;
CREATE INDEX outbox_due ON outbox (endpoint, state, next_attempt_us);

-- Every attempt that was made.
CREATE TABLE attempts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    outbox     INTEGER NOT NULL REFERENCES outbox (id),
    number     INTEGER NOT NULL,        -- from 1
    started_us INTEGER NOT NULL,
    ended_us   INTEGER NOT NULL,
    status     INTEGER,                 -- HTTP status, if there was an answer
    outcome    TEXT NOT NULL            -- 'delivered', or what went wrong
) STRICT;
CREATE INDEX attempts_by_outbox ON attempts (outbox, id);

-- Endpoints that answered 410. A changed URL in the configuration is a new endpoint.
CREATE TABLE stopped_endpoints (
    endpoint   TEXT PRIMARY KEY,
    url_digest TEXT NOT NULL,
    since_us   INTEGER NOT NULL
) STRICT;

-- Who changed what.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time_us INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL       -- JSON
) STRICT;
