-- Question:   what did each device of some metrics and models do in ($from, $to], taken together?
-- Parameters: $from and $to timestamp, $metrics and $models text[]
-- Columns:    service, model, version, variant, device_class, metric, device, site, category, time,
--             count, histogram
-- Caller:     lanes::parts::together, for references of short spans and series about to page
-- Rows whose time is unknown enter no lane, and so no part. `time` is the end of the span.
SELECT
    service,
    model,
    version,
    variant,
    device_class,
    metric,
    device,
    coalesce(site, '') AS site,
    coalesce(category, '') AS category,
    $to AS time,
    sum(count) AS count,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) AS histogram
FROM (
    SELECT
        service, model, version, variant, device_class, metric, device, site, category, count,
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    FROM distributions
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $from
        AND time <= $to
        AND clock <> 'unknown'
        AND array_has($metrics, metric)
        AND array_has($models, model)
        AND explicit_bounds IS NULL
    UNION ALL
    SELECT
        service, model, version, variant, device_class, metric, device, site, category, count,
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
        AND array_has($metrics, metric)
        AND array_has($models, model)
)
GROUP BY
    service, model, version, variant, device_class, metric, device, coalesce(site, ''),
    coalesce(category, '')
ORDER BY
    service, model, version, variant, device_class, metric, device, site, category
