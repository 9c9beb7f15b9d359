-- Question: which devices were erased? Of those that were, no more than a digest is kept.
-- Applied once by collector/src/database.rs, which then sets user_version to 3.
-- A row is written before anything is erased and says how far it has come, so that a crash leaves
-- nothing half erased: whoever starts next goes on. `change` numbers it among changes of access.

CREATE TABLE erasures (
    digest       BLOB PRIMARY KEY,  -- SHA-256 of the installation's name: refuses what comes later
    device       TEXT,              -- the name itself, until its rows are gone
    asked_us     INTEGER NOT NULL,
    rows_gone_us INTEGER,           -- when no table had rows of it any more
    change       INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_by_change ON erasures (change);
