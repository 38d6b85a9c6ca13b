-- How accurate is each criterion at each sparsity?
-- One row a setting (data, model, length of training, prune epoch), criterion and sparsity:
--   trials     finished trials, one a seed
--   mean       mean test accuracy after retraining (last epoch)
--   deviation  its standard deviation over the seeds (NULL for one seed)
SELECT
    dataset, model, epochs, prune_epoch,
    criterion, scope, iterations,
    sparsity,
    count(*) AS trials,
    avg(test_accuracy) AS mean,
    stddev_samp(test_accuracy) AS deviation
FROM trials
WHERE status = 'ok'
GROUP BY ALL
ORDER BY ALL
