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
WITH cells AS MATERIALIZED (
    SELECT
        arm,
        sparsity,
        list(CASE coalesce(getvariable('before'), 'pre_train_loss')
            WHEN 'pre_train_loss' THEN pre_train_loss
            WHEN 'pre_test_loss' THEN pre_test_loss
            WHEN 'pre_test_accuracy' THEN pre_test_accuracy
        END) AS befores,
        list(CASE coalesce(getvariable('after'), 'test_accuracy')
            WHEN 'test_accuracy' THEN test_accuracy
            WHEN 'test_loss' THEN test_loss
        END) AS afters
    FROM trials
    WHERE status = 'ok' AND sparsity > 0
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
groups AS (
    SELECT setting, sparsity, row_number() OVER () AS number
    FROM (SELECT DISTINCT setting, sparsity FROM cells JOIN settings USING (arm))
),
masks AS (
    SELECT
        number, before, after,
        -- Whichever way round is better: a loss, or an accuracy with its sign turned.
        before * CASE WHEN getvariable('before') LIKE '%accuracy' THEN -1 ELSE 1 END AS badness,
        after * CASE WHEN getvariable('after') LIKE '%loss' THEN -1 ELSE 1 END AS goodness
    FROM (
        SELECT number, unnest(befores) AS before, unnest(afters) AS after
        FROM cells JOIN settings USING (arm) JOIN groups USING (setting, sparsity)
    )
    WHERE isfinite(before) AND isfinite(after)
),
ranked AS (
    SELECT
        *,
        rank() OVER b + (count(*) OVER (b RANGE BETWEEN CURRENT ROW AND CURRENT ROW) - 1) / 2 AS before_rank,
        rank() OVER a + (count(*) OVER (a RANGE BETWEEN CURRENT ROW AND CURRENT ROW) - 1) / 2 AS after_rank,
        first_value(badness) OVER b AS lowest
    FROM masks
    WINDOW b AS (PARTITION BY number ORDER BY badness), a AS (PARTITION BY number ORDER BY goodness)
),
coefficients AS (
    SELECT
        number,
        count(*) AS masks,
        corr(before, after) AS pearson,
        -- Of ranks by badness and goodness: a turned sign turns the coefficient's.
        corr(before_rank, after_rank)
            * CASE WHEN getvariable('before') LIKE '%accuracy' THEN -1 ELSE 1 END
            * CASE WHEN getvariable('after') LIKE '%loss' THEN -1 ELSE 1 END AS spearman,
        max(goodness) AS best,
        median(goodness) AS median,
        avg(goodness) FILTER (badness = lowest) AS picked,
        list(goodness) AS goods,
        list(before) AS befores,
        list(after) AS afters
    FROM ranked
    GROUP BY number
)
SELECT
    setting, sparsity, masks,
    CASE WHEN isfinite(pearson) THEN pearson END AS pearson,
    CASE WHEN isfinite(spearman) THEN spearman END AS spearman,
    abs(best) AS best, abs(median) AS median, abs(picked) AS picked,
    len(list_filter(goods, lambda good: good > picked)) / masks AS anomalies,
    befores, afters
FROM coefficients
JOIN groups USING (number)
ORDER BY setting, sparsity
