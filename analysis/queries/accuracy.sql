-- How accurate is each criterion at each sparsity?
-- One row for each arm and sparsity:
--   arm        the trials' config without seed and sparsity: everything else is the same within a row
--   sparsity   share of prunable weights removed
--   trials     finished trials, one for each seed
--   lost       trials that failed, diverged or ended with an accuracy of NaN; they are not in the mean
--   mean       mean test accuracy after retraining (last epoch)
--   deviation  its standard deviation over the seeds (NULL for one seed)
--   median     its median: far from the mean where some seeds collapse
--   apart      finished trials more than 5 robust standard deviations (1.4826 times the median absolute deviation),
--              and more than 2 points (2 % of SET VARIABLE range, for another metric), from that median: one mean says little of two kinds of runs
WITH cells AS (
    SELECT
        arm,
        sparsity,
        count(*) AS runs,
        avg(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS mean,
        stddev_samp(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS deviation,
        coalesce(list(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)), []) AS accuracies
    FROM trials
    WHERE NOT is_drawn(criterion) AND status <> 'stopped'
    GROUP BY arm, sparsity
)
SELECT
    arm,
    sparsity,
    len(accuracies) AS trials,
    runs - trials AS lost,
    mean,
    deviation,
    median,
    len(list_filter(accuracies, lambda a: abs(a - median) > far)) AS apart
FROM (
    SELECT *, list_median(accuracies) AS median, greatest(0.02 * coalesce(getvariable('range'), '1')::DOUBLE, 5 * 1.4826 * list_mad(accuracies)) AS far
    FROM cells
)
ORDER BY arm, sparsity
