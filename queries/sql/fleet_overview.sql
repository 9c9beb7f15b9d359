-- Question:   how is each cohort of the fleet doing in lanes that ended in ($from, $to]?
-- Parameters: $width_us bigint, $from and $to timestamp (lane ends)
-- Columns:    service, model, version, variant, device_class, quantization, last_time, devices,
--             inferences, duration, duration_sum, time_to_first_token, output_tokens,
--             surprisal_sum, surprisal_count, correct, wrong
-- Caller:     fleet::overview, for the fleet page
-- Quantiles and ratios are taken by the caller: histograms and sums add up, quantiles do not.
SELECT
    service,
    model,
    version,
    variant,
    device_class,
    max(quantization) AS quantization,
    max(time) AS last_time,
    devices_merge(devices) AS devices,
    sum(count) FILTER (WHERE metric = 'gen_ai.client.operation.duration') AS inferences,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) FILTER (WHERE metric = 'gen_ai.client.operation.duration') AS duration,
    sum(sum) FILTER (WHERE metric = 'gen_ai.client.operation.duration') AS duration_sum,
    histogram_merge(
        sum, min, max, scale, zero_count, zero_threshold,
        pos_offset, pos_counts, neg_offset, neg_counts
    ) FILTER (WHERE metric = 'gen_ai.server.time_to_first_token') AS time_to_first_token,
    sum(sum) FILTER (WHERE metric = 'gen_ai.client.inference.operation.output_tokens')
        AS output_tokens,
    sum(sum) FILTER (WHERE metric = 'fathomline.output.surprisal') AS surprisal_sum,
    sum(count) FILTER (WHERE metric = 'fathomline.output.surprisal') AS surprisal_count,
    sum(count) FILTER (WHERE metric = 'fathomline.feedback' AND category = 'correct') AS correct,
    sum(count) FILTER (WHERE metric = 'fathomline.feedback' AND category = 'wrong') AS wrong
FROM rollups
WHERE width_us = $width_us
    AND time > $from
    AND time <= $to
GROUP BY service, model, version, variant, device_class
ORDER BY service, model, version, variant, device_class
