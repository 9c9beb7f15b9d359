-- Question:   what is the last verdict of every series on lanes that ended in ($from, $to]?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    time, series, service, model, version, variant, device_class, metric, revision,
--             state, method, score, threshold, count, effective_count, devices, since, reference,
--             evidence
-- Caller:     verdict::latest, for the fleet and drift pages
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
        row_number() OVER (PARTITION BY series ORDER BY time DESC, revision DESC) AS place
    FROM verdicts
    WHERE time > $from
        AND time <= $to
)
WHERE place = 1
ORDER BY service, model, version, variant, device_class, metric
