-- Question: which versions has each model, since when, and which rollouts were there?
-- Applied once by collector/src/database.rs, which then sets user_version to 8.
-- Versions as devices report them. Of each, what was seen first and last.
CREATE TABLE versions (
    service      TEXT NOT NULL,
    model        TEXT NOT NULL,
    version      TEXT NOT NULL,
    device_class TEXT NOT NULL,
    first_us     INTEGER NOT NULL,
    last_us      INTEGER NOT NULL,
    devices      INTEGER NOT NULL,  -- that reported it within an hour
    PRIMARY KEY (service, model, version, device_class)
) STRICT, WITHOUT ROWID;

-- A candidate beside the version it is held against. Declared by an operator, or noticed when a
-- second version began to report.
CREATE TABLE rollouts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    service     TEXT NOT NULL,
    model       TEXT NOT NULL,
    candidate   TEXT NOT NULL,
    against     TEXT NOT NULL,
    improve     TEXT,               -- the metric that must get better, if one must
    started_us  INTEGER NOT NULL,
    source      TEXT NOT NULL CHECK (source IN ('declared', 'reported')),
    started_by  TEXT NOT NULL,
    finished_us INTEGER,
    finished_by TEXT,
    outcome     TEXT CHECK (outcome IN ('promoted', 'rolled_back', 'abandoned'))
) STRICT;
CREATE UNIQUE INDEX rollouts_open ON rollouts (service, model, candidate)
    WHERE finished_us IS NULL;
