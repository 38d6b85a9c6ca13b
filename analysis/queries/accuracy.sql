-- How accurate is each criterion at each sparsity?
-- One row an arm and sparsity:
--   arm        the trials' config less seed and sparsity: everything else is the same within a row
--   sparsity   share of prunable weights removed
--   trials     finished trials, one a seed
--   lost       trials that failed, diverged or ended with an accuracy that is no number; they are not in the mean
--   mean       mean test accuracy after retraining (last epoch)
--   deviation  its standard deviation over the seeds (NULL for one seed)
SELECT
    arm,
    sparsity,
    count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS trials,
    count(*) - count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS lost,
    avg(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS mean,
    stddev_samp(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS deviation
FROM trials
WHERE criterion <> 'oracle' AND status <> 'stopped'
GROUP BY ALL
ORDER BY ALL
