-- Question:   what happened in ($from, $to]?
-- Parameters: $from and $to timestamp
-- Columns:    time, id, kind, subject, body
-- Caller:     event::between, for the pages
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
