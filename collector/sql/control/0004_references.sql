-- Question: which references are there, which one is each series held against, and by whose act?
-- Applied once by collector/src/database.rs, which then sets user_version to 4.
-- What a reference holds never changes and is never removed: verdicts cite it by hash. What is in
-- force changes, and the audit says who changed it.

CREATE TABLE kept_references (
    hash           TEXT PRIMARY KEY,
    contract       INTEGER NOT NULL,    -- 0: from before references named theirs
    series         TEXT NOT NULL,       -- id of the series, as it is called at its level
    name           TEXT NOT NULL,       -- the series in words
    level          TEXT NOT NULL CHECK (level IN ('variant', 'version', 'model')),
    season         TEXT NOT NULL CHECK (season IN ('none', 'hour-of-day', 'hour-of-week')),
    made_from      TEXT NOT NULL,       -- 'span', 'version', 'weeks' or 'file'
    body           BLOB NOT NULL,       -- postcard and not JSON: reading gives the same bits
    records        INTEGER NOT NULL,
    devices        INTEGER NOT NULL,
    from_us        INTEGER NOT NULL,
    to_us          INTEGER NOT NULL,
    excluded_lanes INTEGER NOT NULL,    -- left out, because an incident was open
    created_us     INTEGER NOT NULL,
    created_by     TEXT NOT NULL,
    retired_us     INTEGER,
    retired_by     TEXT
) STRICT;
CREATE INDEX kept_references_by_time ON kept_references (created_us);

-- One row for each series that is held against a reference.
CREATE TABLE references_in_force (
    series         TEXT PRIMARY KEY,
    hash           TEXT NOT NULL REFERENCES kept_references (hash),
    since_us       INTEGER NOT NULL,
    put_by         TEXT NOT NULL,
    judged_from_us INTEGER NOT NULL     -- lanes that ended before are not judged by it
) STRICT;

INSERT OR IGNORE INTO kept_references
    (hash, contract, series, name, level, season, made_from, body, records, devices, from_us,
     to_us, excluded_lanes, created_us, created_by)
SELECT hash, 0, series, name, 'variant', 'none', 'span', body, records, 0, from_us,
       to_us, 0, created_us, created_by
FROM frozen_references ORDER BY id;

INSERT INTO references_in_force (series, hash, since_us, put_by, judged_from_us)
SELECT series, hash, created_us, created_by, created_us
FROM frozen_references WHERE id IN (SELECT max(id) FROM frozen_references GROUP BY series);

DROP TABLE frozen_references;
