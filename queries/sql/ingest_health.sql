-- Question:   how much is stored, and until when?
-- Parameters: none
-- Columns:    name, row_count, last_time
-- Caller:     ingest::health, for the status page and the API
SELECT 'distributions' AS name, count(*) AS row_count, max(time) AS last_time FROM distributions
UNION ALL
SELECT 'measurements' AS name, count(*) AS row_count, max(time) AS last_time FROM measurements
UNION ALL
SELECT 'rollups' AS name, count(*) AS row_count, max(time) AS last_time FROM rollups
UNION ALL
SELECT 'verdicts' AS name, count(*) AS row_count, max(time) AS last_time FROM verdicts
UNION ALL
SELECT 'events' AS name, count(*) AS row_count, max(time) AS last_time FROM events
ORDER BY name
