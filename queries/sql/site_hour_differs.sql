-- Question:   of how many cohorts do devices and lanes not count the same in the hour ($from, $to]?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    differing
-- Caller:     coarse::cohort_hours, for the upkeep of tables
-- They differ where device rows are gone: erased, or kept no longer.
SELECT count(*) AS differing
FROM (
    SELECT service, device_class, model, version, variant, quantization, metric, unit, category
    FROM (
        SELECT service, device_class, model, version, variant, quantization, metric, unit, category,
            count, device_windows
        FROM rollups
        WHERE date >= CAST($from AS DATE)
            AND date <= CAST($to AS DATE)
            AND time > $from
            AND time <= $to
        UNION ALL
        SELECT service, device_class, model, version, variant, quantization, metric, unit, category,
            -count AS count, -device_windows AS device_windows
        FROM device_hours
        WHERE date >= CAST($from AS DATE)
            AND date <= CAST($to AS DATE)
            AND time > $from
            AND time <= $to
    )
    GROUP BY service, device_class, model, version, variant, quantization, metric, unit, category
    HAVING sum(count) <> 0 OR sum(device_windows) <> 0
)
