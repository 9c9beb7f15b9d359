-- Question:   which versions of each model reported in lanes that ended in ($from, $to]?
-- Parameters: $width_us bigint, $from and $to timestamp (lane ends)
-- Columns:    service, model, version, device_class, first_time, last_time, devices
-- Caller:     lanes::rollout::versions, for rollouts that nobody declared and for their page
-- First is the start of the first lane, so that windows since then hold everything.
SELECT
    service,
    model,
    version,
    device_class,
    min(start_time) AS first_time,
    max(time) AS last_time,
    devices_merge(devices) AS devices
FROM rollups
WHERE width_us = $width_us
    AND time > $from
    AND time <= $to
    AND model <> ''
    AND version <> ''
GROUP BY service, model, version, device_class
ORDER BY service, model, version, device_class
