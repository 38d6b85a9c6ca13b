-- Does a pruned network's loss, before it is retrained, say how accurate it will be?
-- SET VARIABLE before = 'pre_train_loss' (the default), 'pre_test_loss' or 'pre_test_accuracy', each as it is or
-- with '_recalibrated' behind it, and after = 'test_accuracy' (the default) or 'test_loss' choose the two. sign = '-1'
-- says that test_accuracy is the negative of another metric, which the answer is about.
-- One row for each setting (data, model, training) and sparsity:
--   setting    the trials' config without seed, sparsity and all that chooses the mask
--   sparsity   share of prunable weights removed
--   masks      trials with both numbers
--   pearson    r
--   spearman   ρ, ties sharing their mean rank
--   best       the best of `after` (highest accuracy, lowest loss)
--   median     its median
--   picked     `after` of the mask that looked best before; of several that looked equally good, what one of them
--              drawn at random is expected to have
--   anomalies  share of masks that end better than that one (Feng et al. 2024), expected likewise
--   arms       of each mask hash(arm), by which `settings` has its criterion
--   seeds      of each mask its seed
--   befores, afters  the numbers themselves
WITH numbered AS MATERIALIZED (
    -- To go through numbers is several times faster than through settings, which are long.
    SELECT
        hash(arm) AS key,
        setting,
        dense_rank() OVER (ORDER BY setting)::UINTEGER AS number
    FROM settings
),
masks AS (
    SELECT
        number,
        sparsity,
        key,
        seed,
        -- Whichever way round is better: a loss, or an accuracy with its sign turned.
        CASE coalesce(getvariable('before'), 'pre_train_loss')
            WHEN 'pre_train_loss' THEN pre_train_loss
            WHEN 'pre_test_loss' THEN pre_test_loss
            WHEN 'pre_test_accuracy' THEN -pre_test_accuracy
            WHEN 'pre_train_loss_recalibrated' THEN pre_train_loss_recalibrated
            WHEN 'pre_test_loss_recalibrated' THEN pre_test_loss_recalibrated
            WHEN 'pre_test_accuracy_recalibrated' THEN -pre_test_accuracy_recalibrated
        END AS badness,
        CASE coalesce(getvariable('after'), 'test_accuracy')
            WHEN 'test_accuracy' THEN test_accuracy
            WHEN 'test_loss' THEN -test_loss
        END AS goodness
    FROM trials
    JOIN numbered ON hash(arm) = key
    WHERE status = 'ok' AND sparsity > 0 AND isfinite(badness) AND isfinite(goodness)
),
ranked AS (
    SELECT
        number, sparsity, key, seed, badness, goodness,
        rank() OVER b AS place,
        1 - cume_dist() OVER a AS better,
        -- The mean of its rank and that of the last it ties with, twice.
        rank() OVER b + count(*) OVER g * cume_dist() OVER b AS before_rank,
        rank() OVER a + count(*) OVER g * cume_dist() OVER a AS after_rank
    FROM masks
    WINDOW g AS (PARTITION BY number, sparsity), b AS (g ORDER BY badness), a AS (g ORDER BY goodness)
),
signs AS (
    SELECT
        CASE WHEN getvariable('before') LIKE '%accuracy%' THEN -1 ELSE 1 END AS bad,
        CASE
            WHEN getvariable('after') LIKE '%loss' THEN -1
            ELSE coalesce(getvariable('sign'), '1')::INT
        END AS good
),
coefficients AS (
    SELECT
        number,
        sparsity,
        count(*) AS masks,
        corr(badness, goodness) AS pearson,
        corr(before_rank, after_rank) AS spearman,
        max(goodness) AS best,
        median(goodness) AS median,
        avg(goodness) FILTER (place = 1) AS mean_picked,
        min(goodness) FILTER (place = 1) AS worst_picked,
        max(goodness) FILTER (place = 1) AS best_picked,
        avg(better) FILTER (place = 1) AS anomalies,
        list(key) AS arms,
        list(seed) AS seeds,
        list(bad * badness) AS befores,
        list(good * goodness) AS afters,
        -- The mean of equal numbers can be off by a last digit.
        greatest(worst_picked, least(best_picked, mean_picked)) AS picked
    FROM ranked, signs
    GROUP BY number, sparsity
)
SELECT
    setting,
    sparsity,
    masks,
    -- A turned sign turns the coefficients'.
    CASE WHEN isfinite(pearson) THEN bad * good * pearson END AS pearson,
    CASE WHEN isfinite(spearman) THEN bad * good * spearman END AS spearman,
    good * best AS best,
    good * median AS median,
    good * picked AS picked,
    anomalies,
    arms,
    seeds,
    befores,
    afters
FROM coefficients
JOIN (SELECT DISTINCT number, setting FROM numbered) USING (number), signs
ORDER BY setting, sparsity
