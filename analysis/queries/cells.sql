-- What is the test accuracy of each run of an arm? The runs themselves, for estimates over seeds, tasks and pairs.
-- One row for each arm that chooses a mask, and sparsity:
--   arm         the trials' config without seed and sparsity
--   place       a number that is the same for all arms of one setting
--   sparsity    share of prunable weights removed
--   lost        trials that failed, diverged or ended with an accuracy of NaN
--   seeds       of the finished trials, rising
--   accuracies  the test accuracy (last epoch) of each of them
--   lost_seeds  of the lost trials (NULL: none)
--   is_first    whether the arm is of the criterion (or criterion:scope) in SET VARIABLE first; default 'snip'; '*':
--               every criterion but the second
--   is_second   whether the arm is of the one in SET VARIABLE second; default 'random'
WITH cells AS MATERIALIZED (
    SELECT
        hash(arm) AS key,  -- arms are long
        sparsity,
        any_value(criterion) AS criterion,
        any_value(scope) AS scope,
        count(*) - count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS lost,
        list(seed ORDER BY seed) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS seeds,
        list(test_accuracy ORDER BY seed) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS accuracies,
        list(seed) FILTER (NOT (status = 'ok' AND coalesce(isfinite(test_accuracy), false))) AS lost_seeds
    FROM trials
    WHERE sparsity > 0 AND NOT is_drawn(criterion) AND status <> 'stopped'
    GROUP BY ALL
)
SELECT
    arm, hash(setting) AS place, sparsity, lost,
    coalesce(seeds, []) AS seeds, coalesce(accuracies, []) AS accuracies, lost_seeds,
    CASE coalesce(getvariable('first'), 'snip')
        WHEN '*' THEN NOT is_criterion(coalesce(getvariable('second'), 'random'), criterion)
        ELSE is_named(coalesce(getvariable('first'), 'snip'), criterion, scope)
    END AS is_first,
    is_named(coalesce(getvariable('second'), 'random'), criterion, scope) AS is_second
FROM cells
JOIN settings ON key = hash(arm)
ORDER BY arm, sparsity
