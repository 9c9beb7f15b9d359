-- Question:   what did two groups of devices do with the same version, window by window?
-- Parameters: $step interval, $from and $to timestamp (ends of windows), $service, $model and
--             $version text, $group text[] (devices of the first group), $metrics text[]
-- Columns:    device_class, in_group, metric, category, start_time, count, histogram
-- Caller:     lanes::rollout::seen, for comparing like with like
-- From device rows, because a rollup does not tell its devices apart. A window belongs to the
-- step that it ends in.
SELECT
    device_class,
    array_has($group, device) AS in_group,
    metric,
    category,
    arrow_cast(
        date_bin($step, time - INTERVAL '1 microsecond', $from),
        'Timestamp(Microsecond, Some("UTC"))'
    ) AS start_time,
    sum(count) AS count,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) AS histogram
FROM (
    SELECT
        device_class, device, metric, coalesce(category, '') AS category, time, count,
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    FROM distributions
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $from
        AND time <= $to
        AND clock <> 'unknown'
        AND service = $service
        AND model = $model
        AND version = $version
        AND array_has($metrics, metric)
        AND explicit_bounds IS NULL
    UNION ALL
    SELECT
        device_class, device, metric, coalesce(category, '') AS category, time, count,
        NULL AS sum, NULL AS min, NULL AS max, NULL AS scale, NULL AS zero_count,
        NULL AS zero_threshold, NULL AS pos_offset, NULL AS pos_counts, NULL AS neg_offset,
        NULL AS neg_counts
    FROM measurements
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $from
        AND time <= $to
        AND clock <> 'unknown'
        AND kind = 'delta'
        AND count IS NOT NULL
        AND service = $service
        AND model = $model
        AND version = $version
        AND array_has($metrics, metric)
)
GROUP BY device_class, 2, metric, category, 5
ORDER BY device_class, 2, metric, 5, category
