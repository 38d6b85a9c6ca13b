-- By how much does SNIP differ from random pruning, seed by seed?
-- One row a pair of arms that differ in nothing but how they choose the mask, and sparsity:
--   snip, random  their configs less seed and sparsity
--   trials        seeds that both have
--   mean          mean over the seeds of SNIP's test accuracy less random's
--   deviation     standard deviation of that difference (NULL for one seed)
WITH finished AS (
    SELECT
        *,
        json_merge_patch(config, '{"seed": null, "sparsity": null}') AS arm,
        json_merge_patch(config, '{"criterion": null, "scope": null, "iterations": null, "schedule": null,
                                   "score_batches": null, "score_batch_size": null}') AS the_rest
    FROM trials
    WHERE status = 'ok'
)
SELECT
    s.arm AS snip,
    r.arm AS random,
    s.sparsity,
    count(*) AS trials,
    avg(s.test_accuracy - r.test_accuracy) AS mean,
    stddev_samp(s.test_accuracy - r.test_accuracy) AS deviation
FROM finished AS s
JOIN finished AS r ON s.the_rest = r.the_rest
WHERE s.criterion = 'snip' AND s.scope = 'global' AND r.criterion = 'random'
GROUP BY ALL
ORDER BY ALL
