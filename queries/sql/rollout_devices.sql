-- Question:   which devices ran which of two versions in ($from, $to], and since when?
-- Parameters: $from and $to timestamp (ends of device windows), $service and $model text,
--             $versions text[], $metrics text[]
-- Columns:    device_class, version, device, first_time, last_time
-- Caller:     lanes::rollout::seen, for the gate
-- A device is counted once however many metrics it sends; who it is leaves the gate as a number.
SELECT
    device_class,
    version,
    device,
    min(time) AS first_time,
    max(time) AS last_time
FROM (
    SELECT device_class, version, device, time
    FROM distributions
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $from
        AND time <= $to
        AND clock <> 'unknown'
        AND service = $service
        AND model = $model
        AND array_has($versions, version)
        AND array_has($metrics, metric)
    UNION ALL
    SELECT device_class, version, device, time
    FROM measurements
    WHERE date >= CAST($from AS DATE)
        AND date <= CAST($to AS DATE)
        AND time > $from
        AND time <= $to
        AND clock <> 'unknown'
        AND kind = 'delta'
        AND service = $service
        AND model = $model
        AND array_has($versions, version)
        AND array_has($metrics, metric)
)
GROUP BY device_class, version, device
ORDER BY device_class, version, device
