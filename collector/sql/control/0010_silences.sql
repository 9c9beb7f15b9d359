-- Question: what shall nobody hear of for a while, and which pages were worth it?
-- Applied once by collector/src/database.rs, which then sets user_version to 10.

-- Alerts that agree with everything that is named are told to nobody.
CREATE TABLE silences (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    model      TEXT,
    version    TEXT,
    class      TEXT,
    site       TEXT,
    metric     TEXT,
    from_us    INTEGER NOT NULL,
    until_us   INTEGER NOT NULL,    -- it ends then by itself, or was ended
    why        TEXT NOT NULL,
    by         TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    ended_by   TEXT                 -- who ended it before its time
) STRICT;
CREATE INDEX silences_by_end ON silences (until_us);

-- What people made of incidents; the last word counts.
CREATE TABLE acknowledgements (
    incident TEXT PRIMARY KEY REFERENCES incidents (id),
    answer   TEXT NOT NULL CHECK (answer IN ('useful', 'noise')),
    note     TEXT,
    by       TEXT NOT NULL,
    time_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
