-- Question:   how was one series judged for lanes that ended in ($from, $to]?
-- Parameters: $series text, $from and $to timestamp (lane ends)
-- Columns:    time, series, service, model, version, variant, device_class, metric, revision,
--             state, method, score, threshold, count, effective_count, devices, since, reference,
--             evidence
-- Caller:     verdict::history, for the drift page
-- Of several revisions of one lane the last one counts.
SELECT
    time,
    series,
    service,
    model,
    version,
    variant,
    device_class,
    metric,
    revision,
    state,
    method,
    score,
    threshold,
    count,
    effective_count,
    devices,
    since,
    reference,
    evidence
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY time ORDER BY revision DESC) AS place
    FROM verdicts
    WHERE series = $series
        AND time > $from
        AND time <= $to
)
WHERE place = 1
ORDER BY time
