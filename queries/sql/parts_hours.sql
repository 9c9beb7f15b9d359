-- Question:   what did each device of some metrics and models do in each hour in ($from, $to]?
-- Parameters: $from and $to timestamp (ends of hours), $metrics and $models text[]
-- Columns:    service, model, version, variant, device_class, metric, device, site, category, time,
--             count, histogram
-- Caller:     lanes::parts::hours, for references of spans of several hours
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
    time,
    sum(count) AS count,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) AS histogram
FROM device_hours
WHERE date >= CAST($from AS DATE)
    AND date <= CAST($to AS DATE)
    AND time > $from
    AND time <= $to
    AND array_has($metrics, metric)
    AND array_has($models, model)
    AND explicit_bounds IS NULL
GROUP BY
    service, model, version, variant, device_class, metric, device, coalesce(site, ''),
    coalesce(category, ''), time
ORDER BY
    service, model, version, variant, device_class, metric, device, site, time, category
