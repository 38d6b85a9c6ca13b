-- By how much does SNIP differ from random pruning, seed by seed?
-- One row a setting, random baseline (scope) and sparsity:
--   trials     seeds that both have
--   mean       mean over the seeds of SNIP's test accuracy less random's
--   deviation  standard deviation of that difference (NULL for one seed)
SELECT
    dataset, model, epochs, prune_epoch,
    baseline.scope AS scope,
    sparsity,
    count(*) AS trials,
    avg(snip.test_accuracy - baseline.test_accuracy) AS mean,
    stddev_samp(snip.test_accuracy - baseline.test_accuracy) AS deviation
FROM trials AS snip
JOIN trials AS baseline USING (dataset, model, epochs, prune_epoch, sparsity, seed)
WHERE snip.criterion = 'snip' AND snip.scope = 'global' AND snip.status = 'ok'
  AND baseline.criterion = 'random' AND baseline.status = 'ok'
GROUP BY ALL
ORDER BY ALL
