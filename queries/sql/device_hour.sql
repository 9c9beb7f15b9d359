-- Question:   what did the values of each device look like in ($from, $to], a cohort at a time?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    service, environment, device, device_class, site, model, version, variant,
--             quantization, metric, unit, category, count, sum, min, max, histogram,
--             explicit_bounds, explicit_counts, device_windows
-- Caller:     coarse::device_hours, for the upkeep of tables
-- Rows whose time is unknown enter no lane, and so no hour.
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
    sum(sum) AS sum,
    min(min) AS min,
    max(max) AS max,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) AS histogram,
    explicit_bounds,
    counts_merge(pos_counts) FILTER (WHERE explicit_bounds IS NOT NULL) AS explicit_counts,
    count(*) AS device_windows
FROM distributions
WHERE date >= CAST($from AS DATE)
    AND date <= CAST($to AS DATE)
    AND time > $from
    AND time <= $to
    AND clock <> 'unknown'
GROUP BY
    service, environment, device, device_class, site, model, version, variant, quantization,
    metric, unit, coalesce(category, ''), explicit_bounds
ORDER BY metric, service, model, version, variant, device_class, category, device
