-- Question:   what did one series look like in lanes that ended in ($from, $to], taken together?
-- Parameters: $width_us bigint, $from and $to timestamp (lane ends), $service, $model, $version,
--             $variant, $device_class, $metric text
-- Columns:    category, unit, count, device_windows, devices, histogram
-- Caller:     series::span, for the drift page
SELECT
    category,
    max(unit) AS unit,
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
    AND service = $service
    AND model = $model
    AND version = $version
    AND variant = $variant
    AND device_class = $device_class
    AND metric = $metric
    AND explicit_bounds IS NULL
GROUP BY category
ORDER BY category
