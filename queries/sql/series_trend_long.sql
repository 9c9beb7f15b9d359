-- Question:   how did one series move in ($from, $to], in steps of whole hours or days?
-- Parameters: $width_us bigint, $step interval, $from, $days_to, $hours_to and $to timestamp (lane
--             ends), $service, $model, $version, $variant, $device_class, $metric text
-- Columns:    start_time, count, mean, p50, p95, devices
-- Caller:     series::trend, for the charts of the drift page
-- As series_trend, read from days up to $days_to, from hours up to $hours_to, from lanes after it.
SELECT
    start_time,
    count,
    CASE WHEN histogram IS NOT NULL THEN sum / count END AS mean,
    histogram_quantile(histogram, 0.5) AS p50,
    histogram_quantile(histogram, 0.95) AS p95,
    devices
FROM (
    SELECT
        arrow_cast(date_bin($step, start_time, $from), 'Timestamp(Microsecond, Some("UTC"))')
            AS start_time,
        sum(count) AS count,
        sum(sum) AS sum,
        devices_count(devices_merge(devices)) AS devices,
        histogram_merge(
            sum, min, max, scale, zero_count, zero_threshold,
            pos_offset, pos_counts, neg_offset, neg_counts
        ) AS histogram
    FROM (
        SELECT
            start_time, count, sum, min, max, scale, zero_count, zero_threshold,
            pos_offset, pos_counts, neg_offset, neg_counts, devices
        FROM rollup_days
        WHERE time > $from
            AND time <= $days_to
            AND service = $service
            AND model = $model
            AND version = $version
            AND variant = $variant
            AND device_class = $device_class
            AND metric = $metric
            AND explicit_bounds IS NULL
        UNION ALL
        SELECT
            start_time, count, sum, min, max, scale, zero_count, zero_threshold,
            pos_offset, pos_counts, neg_offset, neg_counts, devices
        FROM rollup_hours
        WHERE time > $days_to
            AND time <= $hours_to
            AND service = $service
            AND model = $model
            AND version = $version
            AND variant = $variant
            AND device_class = $device_class
            AND metric = $metric
            AND explicit_bounds IS NULL
        UNION ALL
        SELECT
            start_time, count, sum, min, max, scale, zero_count, zero_threshold,
            pos_offset, pos_counts, neg_offset, neg_counts, devices
        FROM rollups
        WHERE time > $hours_to
            AND time <= $to
            AND service = $service
            AND model = $model
            AND version = $version
            AND variant = $variant
            AND device_class = $device_class
            AND metric = $metric
            AND explicit_bounds IS NULL
            AND width_us = $width_us
    )
    GROUP BY 1
)
ORDER BY start_time
