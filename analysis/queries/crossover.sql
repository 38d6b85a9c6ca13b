-- How accurate is each criterion at each sparsity?
-- One row an arm and sparsity:
--   arm        the trials' config less seed and sparsity: everything else is the same within a row
--   trials     finished trials, one a seed
--   mean       mean test accuracy after retraining (last epoch)
--   deviation  its standard deviation over the seeds (NULL for one seed)
SELECT
    json_merge_patch(config, '{"seed": null, "sparsity": null}') AS arm,
    sparsity,
    count(*) AS trials,
    avg(test_accuracy) AS mean,
    stddev_samp(test_accuracy) AS deviation
FROM trials
WHERE status = 'ok'
GROUP BY ALL
ORDER BY ALL
