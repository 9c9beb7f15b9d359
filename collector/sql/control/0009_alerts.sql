-- Question: which alerts fire, which of them are one incident, and who was told?
-- Applied once by collector/src/database.rs, which then sets user_version to 9.
-- An alert of a series goes from inactive over pending to firing and resolved. What had been told
-- before there were incidents becomes an incident of its own.

CREATE TABLE alerts (
    series   TEXT PRIMARY KEY,
    state    TEXT NOT NULL CHECK (state IN ('inactive', 'pending', 'firing', 'resolved')),
    since_us INTEGER NOT NULL,
    recent   INTEGER NOT NULL   -- the last decided verdicts, the newest in the lowest bit
) STRICT, WITHOUT ROWID;

CREATE TABLE incidents (
    id          TEXT PRIMARY KEY,
    service     TEXT NOT NULL,
    model       TEXT NOT NULL,
    rule        TEXT NOT NULL,      -- the signal that opened it
    opened_us   INTEGER NOT NULL,
    resolved_us INTEGER,
    quiet_us    INTEGER NOT NULL,   -- until when a member that fires again comes back to it
    told        INTEGER NOT NULL,   -- everybody was told that it goes on
    pages       INTEGER NOT NULL    -- how often
) STRICT, WITHOUT ROWID;
CREATE INDEX incidents_by_opening ON incidents (opened_us);
CREATE INDEX incidents_open ON incidents (id) WHERE resolved_us IS NULL;
CREATE INDEX incidents_quiet ON incidents (quiet_us);

CREATE TABLE incident_members (
    incident       TEXT NOT NULL REFERENCES incidents (id),
    subject        TEXT NOT NULL,   -- such as a series
    service        TEXT NOT NULL,
    model          TEXT NOT NULL,
    version        TEXT NOT NULL,
    device_class   TEXT NOT NULL,
    site           TEXT,
    metric         TEXT NOT NULL,
    fired_us       INTEGER NOT NULL,
    fired_event    TEXT NOT NULL,
    resolved_us    INTEGER,
    resolved_event TEXT,
    told           INTEGER NOT NULL,
    quiet_us       INTEGER NOT NULL,
    PRIMARY KEY (incident, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO alerts (series, state, since_us, recent)
SELECT series, iif(state = 'drifting', 'firing', 'inactive'), since_us, state = 'drifting'
FROM alert_states;

INSERT INTO incidents (id, service, model, rule, opened_us, quiet_us, told, pages)
SELECT 'inc_' || a.series, v.service, v.model, v.metric, a.since_us, 0, 1, 1
FROM alert_states a
JOIN current_verdicts c ON c.series = a.series
JOIN verdicts v ON v.id = c.verdict
WHERE a.state = 'drifting';

INSERT INTO incident_members
    (incident, subject, service, model, version, device_class, metric, fired_us, fired_event, told,
     quiet_us)
SELECT 'inc_' || a.series, a.series, v.service, v.model, v.version, v.device_class, v.metric,
       a.since_us,
       coalesce((SELECT e.event_id FROM events e
                 WHERE e.subject = a.series AND e.time_us = a.since_us
                   AND e.kind = 'fathomline.verdict.changed' ORDER BY e.id DESC LIMIT 1), ''),
       1, 0
FROM alert_states a
JOIN current_verdicts c ON c.series = a.series
JOIN verdicts v ON v.id = c.verdict
WHERE a.state = 'drifting';

DROP TABLE alert_states;
