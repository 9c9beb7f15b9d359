-- Question:   what did each device count in ($from, $to], a cohort at a time?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    service, environment, device, device_class, site, model, version, variant,
--             quantization, metric, unit, category, count, device_windows
-- Caller:     coarse::device_hours, for the upkeep of tables
-- Gauges are levels and do not add; floating increases are in device_hour_amounts.
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
    sum(count) AS count,
    count(*) AS device_windows
FROM measurements
WHERE date >= CAST($from AS DATE)
    AND date <= CAST($to AS DATE)
    AND time > $from
    AND time <= $to
    AND clock <> 'unknown'
    AND kind = 'delta'
    AND count IS NOT NULL
GROUP BY
    service, environment, device, device_class, site, model, version, variant, quantization,
    metric, unit, coalesce(category, '')
ORDER BY metric, service, model, version, variant, device_class, category, device
