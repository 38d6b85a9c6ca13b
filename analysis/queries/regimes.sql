-- How does accuracy depend on two axes together: load (sparsity) and temperature (a training field)?
-- SET VARIABLE x = 'sparsity' and y = 'prune_epoch' (the defaults) choose any two fields of the config. Learning
-- rate, batch size or epochs against sparsity is the view of 'A Three-regime Model of Network Pruning'
-- (Zhou et al. 2023). SET VARIABLE of = 'lmc_barrier', 'cka' or 'weight_distance' asks about twins (twin_seed) instead.
-- One row for each arm and sparsity (and seed, where that is one of the two); rows whose arms differ in the two fields
-- alone are points of one map:
--   arm            the trials' config without seed and sparsity
--   sparsity       share of prunable weights removed
--   dataset, model, criterion, scope, iterations  of the trials
--   x, y           the two fields' values, as text
--   trials         finished trials, one for each seed
--   value          mean test accuracy after retraining (last epoch), or of the variable's column
--   deviation      its standard deviation over the seeds (NULL for one seed)
WITH axes AS (
    SELECT coalesce(getvariable('x'), 'sparsity') AS x_field, coalesce(getvariable('y'), 'prune_epoch') AS y_field
),
measured AS (
    SELECT
        *,
        CASE getvariable('of')
            WHEN 'lmc_barrier' THEN lmc_barrier
            WHEN 'cka' THEN cka
            WHEN 'weight_distance' THEN weight_distance
            ELSE test_accuracy
        END AS measure
    FROM trials
),
points AS MATERIALIZED (
    SELECT
        arm, sparsity, CASE WHEN 'seed' IN (x_field, y_field) THEN seed END AS seed,
        any_value(dataset) AS dataset, any_value(model) AS model, any_value(criterion) AS criterion,
        any_value(scope) AS scope, any_value(iterations) AS iterations,
        count(*) AS trials,
        avg(measure) AS value,
        stddev_samp(measure) AS deviation
    FROM measured, axes
    WHERE status = 'ok' AND isfinite(measure) AND sparsity > 0
    GROUP BY 1, 2, 3
),
arms AS (
    -- Of an arm once: it is long.
    SELECT arm, json_extract_string(arm, '$.' || x_field) AS x, json_extract_string(arm, '$.' || y_field) AS y
    FROM (SELECT DISTINCT arm FROM points), axes
)
SELECT
    arm, sparsity, dataset, model, criterion, scope, iterations,
    CASE x_field WHEN 'sparsity' THEN sparsity::VARCHAR WHEN 'seed' THEN seed::VARCHAR ELSE x END AS x,
    CASE y_field WHEN 'sparsity' THEN sparsity::VARCHAR WHEN 'seed' THEN seed::VARCHAR ELSE y END AS y,
    trials, value, deviation
FROM points JOIN arms USING (arm), axes
ORDER BY dataset, model, criterion, scope, iterations, try_cast(x AS DOUBLE), x, try_cast(y AS DOUBLE), y, sparsity
