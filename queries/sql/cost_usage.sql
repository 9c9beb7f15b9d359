-- Question:   what was used in ($from, $to], by UTC day, site and cohort?
-- Parameters: $width_us bigint, $from, $hours_to and $to timestamp (lane ends), $metrics text[]
-- Columns:    day, service, site, device_class, model, version, variant, quantization, metric,
--             category, count, sum, devices
-- Caller:     cost::usage, for the page of energy and cost
-- Read from hours up to $hours_to and from lanes after it, which do not tell sites apart.
SELECT
    date AS day,
    service,
    site,
    device_class,
    model,
    version,
    variant,
    max(quantization) AS quantization,
    metric,
    category,
    sum(count) AS count,
    sum(sum) AS sum,
    devices_merge(devices) AS devices
FROM (
    SELECT
        date, service, site, device_class, model, version, variant, quantization, metric, category,
        count, sum, devices
    FROM rollup_hours
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($hours_to AS DATE)
        AND time > $from
        AND time <= $hours_to
        AND array_has($metrics, metric)
    UNION ALL
    SELECT
        date, service, NULL AS site, device_class, model, version, variant, quantization, metric,
        category, count, sum, devices
    FROM rollups
    WHERE date >= CAST($hours_to AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $hours_to
        AND time <= $to
        AND width_us = $width_us
        AND array_has($metrics, metric)
)
GROUP BY date, service, site, device_class, model, version, variant, metric, category
ORDER BY date, service, site, device_class, model, version, variant, metric, category
