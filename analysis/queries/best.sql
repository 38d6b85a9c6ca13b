-- Which schedule is best at each sparsity?
-- One row for each arm (criterion, scope, iterations, prune epoch, in their setting) and sparsity:
--   arm                   the trials' config without seed and sparsity
--   sparsity              share of prunable weights removed
--   trials, lost          finished trials, one for each seed, and those without an accuracy
--   validation_accuracy   mean after the last epoch: for choosing
--   test_accuracy         mean after the last epoch: for reporting, never for choosing
--   test_deviation        its standard deviation over the seeds
--   density               mean share of weights kept
--   hours                 mean time of a finished trial
--   seeds, validation_accuracies, test_accuracies  of each finished trial
--   lost_seeds            of each that has no accuracy (NULL: none)
SELECT
    arm,
    sparsity,
    count(*) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS trials,
    count(*) - count(*) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS lost,
    avg(val_accuracy) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS validation_accuracy,
    avg(test_accuracy) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS test_accuracy,
    stddev_samp(test_accuracy) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS test_deviation,
    avg(density) FILTER (status = 'ok' AND isfinite(val_accuracy) AND isfinite(density)) AS density,
    avg(wall_seconds) FILTER (status = 'ok' AND isfinite(val_accuracy) AND isfinite(wall_seconds)) / 3600 AS hours,
    list(seed) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS seeds,
    list(val_accuracy) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS validation_accuracies,
    list(test_accuracy) FILTER (status = 'ok' AND isfinite(val_accuracy)) AS test_accuracies,
    list(seed) FILTER (NOT (status = 'ok' AND coalesce(isfinite(val_accuracy), false))) AS lost_seeds
FROM trials
WHERE sparsity > 0 AND NOT is_drawn(criterion) AND status <> 'stopped'
GROUP BY ALL
ORDER BY arm, sparsity
