-- Question: where did each detector stand at the last full hours?
-- Applied once by collector/src/database.rs, which then sets user_version to 5.
-- Late records are judged by folding again from the newest of these that has not folded their lane.
-- Kept for two days and an hour; the newest state of all is in `detectors`.
CREATE TABLE detector_snapshots (
    series          TEXT NOT NULL,
    folded_until_us INTEGER NOT NULL,
    reference       TEXT NOT NULL,      -- hash
    policy          TEXT NOT NULL,      -- JSON
    state           BLOB NOT NULL,      -- postcard: the same bits when it is read again
    began_us        INTEGER NOT NULL,   -- lanes that ended later are folded
    PRIMARY KEY (series, folded_until_us)
) STRICT, WITHOUT ROWID;

-- What a lane held when it was judged is what its verdict counts.
DROP TABLE judged_lanes;
