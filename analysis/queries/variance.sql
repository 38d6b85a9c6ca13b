-- How much does test accuracy vary over seeds when only some sources of randomness move?
-- One row for each arm and sparsity, of arms that hold a source, or differ only in the sources that they hold:
--   arm         the trials' config without seed and sparsity
--   rest        the same without init_seed, order_seed, mask_seed and split_seed: equal for arms that are compared
--   sparsity    share of prunable weights removed
--   moved       sources that each seed draws anew, of: initialization, data order, masks, split
--   held        sources that are the same for all seeds, as field=value
--   lost        trials that failed, diverged or ended with an accuracy of NaN
--   accuracies  the test accuracy (last epoch) of the finished trials
WITH known AS MATERIALIZED (
    SELECT
        hash(arm) AS key,
        arm,
        json_merge_patch(
            arm, '{"init_seed": null, "order_seed": null, "mask_seed": null, "split_seed": null}'
        )::VARCHAR AS rest,
        arm ->> '$.init_seed' AS init_seed,
        arm ->> '$.order_seed' AS order_seed,
        arm ->> '$.mask_seed' AS mask_seed,
        -- Of these the text alone follows the seed.
        nullif(coalesce(arm ->> '$.split_seed', '0'), 'seed') AS split_seed
    FROM settings
),
sources AS MATERIALIZED (
    SELECT
        key, arm, rest,
        list_filter([
            CASE WHEN init_seed IS NULL THEN 'initialization' END,
            CASE WHEN order_seed IS NULL THEN 'data order' END,
            CASE WHEN mask_seed IS NULL THEN 'masks' END,
            CASE WHEN split_seed IS NULL THEN 'split' END
        ], lambda source: source IS NOT NULL) AS moved,
        list_filter([
            'init_seed=' || init_seed, 'order_seed=' || order_seed, 'mask_seed=' || mask_seed,
            'split_seed=' || split_seed
        ], lambda field: field IS NOT NULL) AS held
    FROM known
),
compared AS MATERIALIZED (
    FROM sources
    QUALIFY
        count(DISTINCT moved) OVER (PARTITION BY hash(rest)) > 1
        OR bool_or(len(list_filter(moved, lambda source: source <> 'split')) < 3) OVER (PARTITION BY hash(rest))
)
SELECT
    arm, rest, sparsity, moved, held,
    count(*) - count(*) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS lost,
    coalesce(list(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)), []) AS accuracies
FROM trials
JOIN compared USING (arm)
WHERE status <> 'stopped' AND NOT is_drawn(criterion)
GROUP BY key, arm, rest, sparsity, moved, held
ORDER BY rest, sparsity, len(moved) DESC, arm
