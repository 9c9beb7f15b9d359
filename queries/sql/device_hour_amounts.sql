-- Question:   by how much did the floating counters of each device rise in ($from, $to]?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    service, environment, device, device_class, site, model, version, variant,
--             quantization, metric, unit, category, count, sum, min, max, histogram,
--             explicit_bounds, explicit_counts, device_windows
-- Caller:     coarse::device_hours, for the upkeep of tables
-- As in lanes: values of a distribution without bounds, one a window.
SELECT
    service,
    environment,
    device,
    device_class,
    site,
    model,
    version,
    variant,
    quantization,
    metric,
    unit,
    coalesce(category, '') AS category,
    count(*) AS count,
    sum(value) AS sum,
    min(value) AS min,
    max(value) AS max,
    arrow_cast(NULL, 'Binary') AS histogram,
    arrow_cast(make_array(), 'List(Float64)') AS explicit_bounds,
    make_array(count(*)) AS explicit_counts,
    count(*) AS device_windows
FROM measurements
WHERE date >= CAST($from AS DATE)
    AND date <= CAST($to AS DATE)
    AND time > $from
    AND time <= $to
    AND clock <> 'unknown'
    AND kind = 'delta'
    AND count IS NULL
    AND value IS NOT NULL
GROUP BY
    service, environment, device, device_class, site, model, version, variant, quantization,
    metric, unit, coalesce(category, '')
ORDER BY metric, service, model, version, variant, device_class, category, device
