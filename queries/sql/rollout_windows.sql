-- Question:   what did two versions do at the same time, window by window?
-- Parameters: $width_us bigint, $step interval, $from and $to timestamp (lane ends), $service and
--             $model text, $versions text[], $metrics text[]
-- Columns:    device_class, version, metric, category, start_time, count, devices, histogram
-- Caller:     lanes::rollout::seen, for the gate
-- From rollups: what it costs grows with cohorts, not with devices. Variants of a version are one.
-- Explicit-bounds histograms are not judged.
SELECT
    device_class,
    version,
    metric,
    category,
    arrow_cast(date_bin($step, start_time, $from), 'Timestamp(Microsecond, Some("UTC"))')
        AS start_time,
    sum(count) AS count,
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
    AND array_has($versions, version)
    AND array_has($metrics, metric)
    AND explicit_bounds IS NULL
GROUP BY device_class, version, metric, category, 5
ORDER BY device_class, version, metric, 5, category
