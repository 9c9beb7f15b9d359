-- Question:   how many windows, and how many inferences in them, did the collector store?
-- Columns:    windows, inferences
-- Caller:     story, once the fleet has sent everything
-- Every window has its sequence among the measurements, also one in which nobody asked anything.
SELECT
    (SELECT count(*) FROM (SELECT DISTINCT device, boot, sequence FROM measurements)) AS windows,
    (SELECT sum(count) FROM distributions WHERE metric = '{metric}') AS inferences
