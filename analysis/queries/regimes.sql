-- How does accuracy depend on two axes together: load (sparsity) and temperature (a training field)?
-- SET VARIABLE x = 'sparsity' and y = 'prune_epoch' (the defaults) choose any two fields of the config. Learning
-- rate, batch size or epochs against sparsity is the view of 'A Three-regime Model of Network Pruning'
-- (Zhou et al. 2023).
-- One row a data set, model, way to choose the mask, and point:
--   dataset, model, criterion, scope, iterations  of the trials
--   x, y           the two fields' values, as text
--   trials         finished trials: over the seeds, and over every other field that varies
--   test_accuracy  mean after retraining (last epoch)
--   deviation      its standard deviation
SELECT
    dataset, model, criterion, scope, iterations, x, y,
    count(*) AS trials,
    avg(test_accuracy) AS test_accuracy,
    stddev_samp(test_accuracy) AS deviation
FROM (
    SELECT
        *,
        json_extract_string(config, '$.' || coalesce(getvariable('x'), 'sparsity')) AS x,
        json_extract_string(config, '$.' || coalesce(getvariable('y'), 'prune_epoch')) AS y
    FROM trials
)
WHERE status = 'ok' AND isfinite(test_accuracy) AND criterion <> 'dense'
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY 1, 2, 3, 4, 5, try_cast(any_value(x) AS DOUBLE), 6, try_cast(any_value(y) AS DOUBLE), 7
