-- Question:   what is everything said about one series and the lane that ended at $time?
-- Parameters: $series text, $time timestamp (lane end)
-- Columns:    time, series, service, model, version, variant, device_class, metric, revision,
--             state, method, score, threshold, count, effective_count, devices, since, reference,
--             evidence
-- Caller:     verdict::detail, for the drift page
-- Of several revisions of the lane the last one counts.
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
FROM verdicts
WHERE series = $series
    AND time = $time
ORDER BY revision DESC
LIMIT 1
