-- Question:   which share of answers was right, says feedback, in lanes from {from_us} to {to_us}?
-- Columns:    device_class, share
-- Caller:     story, before and after the season changed
SELECT
    device_class,
    sum(CASE WHEN category = 'correct' THEN CAST(count AS DOUBLE) ELSE 0.0 END) / sum(count) AS share
FROM rollups
WHERE metric = '{metric}'
    AND width_us = {lane_us}
    AND CAST(start_time AS BIGINT) >= {from_us}
    AND CAST(time AS BIGINT) <= {to_us}
GROUP BY device_class
ORDER BY device_class
