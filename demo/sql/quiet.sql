-- Question:   how much has each class sent since {from_us}, in whole lanes?
-- Columns:    device_class, inferences, lanes
-- Caller:     story, while it waits for enough to freeze
SELECT
    device_class,
    sum(count) AS inferences,
    count(DISTINCT time) AS lanes
FROM rollups
WHERE metric = '{metric}'
    AND width_us = {lane_us}
    AND CAST(start_time AS BIGINT) >= {from_us}
    AND CAST(time AS BIGINT) <= {to_us}
GROUP BY device_class
ORDER BY device_class
