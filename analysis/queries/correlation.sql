-- Does a pruned network's loss, before it is retrained, say how accurate it will be?
-- SET VARIABLE before = 'pre_train_loss' (the default), 'pre_test_loss' or 'pre_test_accuracy', and
-- after = 'test_accuracy' (the default) or 'test_loss' choose the two.
-- One row a setting (data, model, training) and sparsity:
--   setting    the trials' config less seed, sparsity and all that chooses the mask
--   sparsity   share of prunable weights removed
--   masks      trials with both numbers
--   pearson    r
--   spearman   ρ, ties sharing their mean rank
--   best       the best of `after` (highest accuracy, lowest loss)
--   median     its median
--   picked     `after` of the mask that looked best before (its mean where several looked equal)
--   anomalies  share of masks that end better than that one (Feng et al. 2024)
--   befores, afters  the numbers themselves
WITH pairs AS (
    SELECT
        arm,
        sparsity,
        CASE coalesce(getvariable('before'), 'pre_train_loss')
            WHEN 'pre_train_loss' THEN pre_train_loss
            WHEN 'pre_test_loss' THEN pre_test_loss
            WHEN 'pre_test_accuracy' THEN pre_test_accuracy
        END AS before,
        CASE coalesce(getvariable('after'), 'test_accuracy')
            WHEN 'test_accuracy' THEN test_accuracy
            WHEN 'test_loss' THEN test_loss
        END AS after
    FROM trials
    WHERE status = 'ok' AND sparsity > 0
),
cells AS MATERIALIZED (
    SELECT arm, sparsity, list(before) AS befores, list(after) AS afters
    FROM pairs
    WHERE isfinite(before) AND isfinite(after)
    GROUP BY ALL
),
settings AS (
    SELECT
        arm,
        json_merge_patch(arm, '{"criterion": null, "scope": null, "iterations": null, "schedule": null,
            "min_per_layer": null, "balanced": null, "combination": null, "score_batches": null,
            "score_batch_size": null, "score_mode": null, "score_loss": null, "score_init": null,
            "update_every": null, "update_end": null, "drop_fraction": null}')::VARCHAR AS setting
    FROM (SELECT DISTINCT arm FROM cells)
),
groups AS MATERIALIZED (
    SELECT *, row_number() OVER () AS number
    FROM (
        SELECT setting, sparsity, flatten(list(befores)) AS befores, flatten(list(afters)) AS afters
        FROM cells JOIN settings USING (arm)
        GROUP BY ALL
    )
),
-- Whichever way round is better: a loss, or an accuracy with its sign turned.
signs AS (
    SELECT
        CASE WHEN getvariable('before') LIKE '%accuracy' THEN -1 ELSE 1 END AS bad,
        CASE WHEN getvariable('after') LIKE '%loss' THEN -1 ELSE 1 END AS good
),
masks AS (
    SELECT number, masks, bad * before AS badness, good * after AS goodness
    FROM (
        SELECT number, len(befores) AS masks, unnest(befores) AS before, unnest(afters) AS after FROM groups
    ), signs
),
ranked AS (
    SELECT
        number, badness, goodness,
        rank() OVER b AS place,
        -- The mean of its rank and that of the last it ties with, twice.
        rank() OVER b + masks * cume_dist() OVER b AS before_rank,
        rank() OVER a + masks * cume_dist() OVER a AS after_rank
    FROM masks
    WINDOW b AS (PARTITION BY number ORDER BY badness), a AS (PARTITION BY number ORDER BY goodness)
),
coefficients AS (
    SELECT
        number,
        count(*) AS masks,
        corr(badness, goodness) AS pearson,
        corr(before_rank, after_rank) AS spearman,
        max(goodness) AS best,
        median(goodness) AS median,
        avg(goodness) FILTER (place = 1) AS picked
    FROM ranked
    GROUP BY number
)
SELECT
    setting, sparsity, masks,
    -- A turned sign turns the coefficients'.
    CASE WHEN isfinite(pearson) THEN bad * good * pearson END AS pearson,
    CASE WHEN isfinite(spearman) THEN bad * good * spearman END AS spearman,
    abs(best) AS best, abs(median) AS median, abs(picked) AS picked,
    len(list_filter(afters, lambda after: good * after > picked)) / masks AS anomalies,
    befores, afters
FROM coefficients
JOIN groups USING (number), signs
ORDER BY setting, sparsity
