-- Question:   what happened in ($from, $to]?
-- Parameters: $from and $to timestamp
-- Columns:    time, id, kind, subject, body
-- Caller:     ingest::events, for the pages and the API
SELECT
    time,
    id,
    kind,
    subject,
    body
FROM events
WHERE time > $from
    AND time <= $to
ORDER BY time, id
