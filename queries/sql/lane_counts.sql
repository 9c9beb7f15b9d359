-- Question:   how much does each lane hold that ended in ($from, $to]?
-- Parameters: $width_us bigint, $from and $to timestamp (lane ends), $metrics text[]
-- Columns:    service, model, version, variant, device_class, metric, time, count, devices
-- Caller:     lanes::counted, for the watcher, which looks for late records
-- What is counted is what the question of lanes gives; no histogram is read.
SELECT
    service,
    model,
    version,
    variant,
    device_class,
    metric,
    time,
    sum(count) AS count,
    devices_merge(devices) AS devices
FROM rollups
WHERE width_us = $width_us
    AND time > $from
    AND time <= $to
    AND array_has($metrics, metric)
    AND explicit_bounds IS NULL
GROUP BY
    service, model, version, variant, device_class, metric, time
ORDER BY
    service, model, version, variant, device_class, metric, time
