-- Question:   what did each series look like in each lane that ended in ($from, $to]?
-- Parameters: $width_us bigint, $from and $to timestamp (lane ends), $metrics text[]
-- Columns:    service, model, version, variant, device_class, metric, category, start_time, time,
--             count, device_windows, devices, histogram
-- Caller:     lanes::closed, for the watcher
-- Increments of one lane are summed here. Explicit-bounds histograms are shown but not judged.
SELECT
    service,
    model,
    version,
    variant,
    device_class,
    metric,
    category,
    start_time,
    time,
    sum(count) AS count,
    sum(device_windows) AS device_windows,
    devices_merge(devices) AS devices,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) AS histogram
FROM rollups
WHERE width_us = $width_us
    AND time > $from
    AND time <= $to
    AND array_has($metrics, metric)
    AND explicit_bounds IS NULL
GROUP BY
    service, model, version, variant, device_class, metric, category, start_time, time
ORDER BY
    service, model, version, variant, device_class, metric, time, category
