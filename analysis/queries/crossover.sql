-- How accurate is each criterion at each sparsity?
-- One row an arm and sparsity:
--   arm        the trials' config less seed and sparsity: everything else is the same within a row
--   trials     finished trials, one a seed
--   lost       trials that failed or diverged: they have no accuracy and are not in the mean
--   mean       mean test accuracy after retraining (last epoch)
--   deviation  its standard deviation over the seeds (NULL for one seed)
SELECT
    json_merge_patch(config, '{"seed": null, "sparsity": null}') AS arm,
    sparsity,
    count(*) FILTER (status = 'ok') AS trials,
    count(*) FILTER (status <> 'ok') AS lost,
    avg(test_accuracy) FILTER (status = 'ok') AS mean,
    stddev_samp(test_accuracy) FILTER (status = 'ok') AS deviation
FROM trials
GROUP BY ALL
ORDER BY ALL
