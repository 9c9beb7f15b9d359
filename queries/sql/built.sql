-- Question:   up to when are the hours and the days of ($from, $to] built?
-- Parameters: $from and $to timestamp (lane ends)
-- Columns:    hours_to, days_to
-- Caller:     series::trend, for the charts of the drift page
SELECT
    (
        SELECT max(time)
        FROM rollup_hours
        WHERE date >= CAST($from AS DATE)
            AND time > $from
            AND time <= $to
    ) AS hours_to,
    (
        SELECT max(time)
        FROM rollup_days
        WHERE date >= CAST($from AS DATE)
            AND time > $from
            AND time <= $to
    ) AS days_to
