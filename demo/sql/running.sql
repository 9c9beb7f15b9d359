-- Question:   how many devices of each class sent an inference of version {version} since {from_us}?
-- Columns:    device_class, devices
-- Caller:     story, while a new version goes out
SELECT
    device_class,
    count(DISTINCT device) AS devices
FROM distributions
WHERE metric = '{metric}'
    AND version = '{version}'
    AND CAST(time AS BIGINT) >= {from_us}
GROUP BY device_class
ORDER BY device_class
