-- Question:   from how many devices has an inference arrived?
-- Columns:    devices
-- Caller:     story, while it opens
SELECT count(DISTINCT device) AS devices FROM distributions
