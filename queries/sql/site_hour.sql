-- Question:   what do the devices of each cohort and site add up to in the hour ($from, $to]?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    service, device_class, model, version, variant, quantization, metric, unit, category,
--             site, count, sum, min, max, histogram, explicit_bounds, explicit_counts,
--             device_windows, devices
-- Caller:     coarse::cohort_hours, for the upkeep of tables
SELECT
    service,
    device_class,
    model,
    version,
    variant,
    quantization,
    metric,
    unit,
    category,
    site,
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
    sum(device_windows) AS device_windows,
    devices_merge(devices_of(device)) AS devices
FROM device_hours
WHERE date >= CAST($from AS DATE)
    AND date <= CAST($to AS DATE)
    AND time > $from
    AND time <= $to
GROUP BY
    service, device_class, model, version, variant, quantization, metric, unit, category, site,
    explicit_bounds
ORDER BY metric, service, model, version, variant, device_class, category, site
