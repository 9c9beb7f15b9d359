-- Question: who may send and who may read? Devices, and tokens of which only digests are kept.
-- Applied once by collector/src/database.rs, which then sets user_version to 2.
-- Rows stay and a revoked one says so, unless their device is erased. `change` numbers every change
-- (the mark 'access' holds the last), so that a running collector reads only what is new to it.

CREATE TABLE tokens (
    key        TEXT PRIMARY KEY,    -- the token's public part: names it in lists and in the log
    digest     BLOB NOT NULL,       -- SHA-256 of the whole token
    scope      TEXT NOT NULL CHECK (scope IN ('ingest', 'read', 'admin')),
    fleet      TEXT,                -- may send for devices of this fleet
    device     TEXT,                -- may send as this device alone
    name       TEXT,                -- who reads or administers
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revoked_us INTEGER,
    change     INTEGER NOT NULL,
    CHECK ((fleet IS NOT NULL) + (device IS NOT NULL) + (name IS NOT NULL) = 1),
    CHECK ((scope = 'ingest') = (name IS NULL))
) STRICT;
CREATE INDEX tokens_by_change ON tokens (change);
CREATE INDEX tokens_by_device ON tokens (device) WHERE device IS NOT NULL;

-- Devices that were enrolled, or revoked. Others may send under a token of any fleet.
CREATE TABLE devices (
    device      TEXT PRIMARY KEY,   -- device.id
    fleet       TEXT,               -- only tokens of this fleet may send for it
    enrolled_us INTEGER,            -- when it was given a token of its own
    revoked_us  INTEGER,
    change      INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_by_change ON devices (change);
