-- Where do criteria remove whole layers, and from which prune epoch on is it safe?
-- One row for each arm, sparsity and prune epoch:
--   arm                the trials' config without seed and sparsity
--   sparsity           share of prunable weights removed
--   prune_epoch        when they were removed: where prune_when chose the epoch, the chosen one
--   trials             trials that were pruned
--   collapsed          trials with a layer that keeps no weight
--   disconnected       trials without a kept weight on a path from input to output
--   failing            trials with one or both
--   layer, in_layer    the layer that is emptied most often, and in how many trials
--   min_layer_density  mean of the lowest layer density
--   density            mean share of weights kept
--   effective_density  mean share of weights kept and on a path (NULL: not known)
WITH pruned AS (
    SELECT * REPLACE (coalesce(pruned_at_epoch, prune_epoch) AS prune_epoch)
    FROM trials WHERE sparsity > 0 AND density IS NOT NULL AND NOT is_drawn(criterion)
),
emptied AS (
    SELECT arm, sparsity, prune_epoch, name, min(layer) AS place, count(*) AS trials
    FROM layers JOIN (SELECT trial_id, arm, sparsity, prune_epoch FROM pruned) USING (trial_id)
    WHERE kept = 0
    GROUP BY ALL
),
worst AS (
    SELECT arm, sparsity, prune_epoch, arg_min(name, (-trials, place)) AS layer, max(trials) AS in_layer
    FROM emptied
    GROUP BY ALL
)
SELECT
    pruned.arm, pruned.sparsity, pruned.prune_epoch,
    count(*) AS trials,
    count(*) FILTER (collapsed_layers > 0) AS collapsed,
    count(*) FILTER (effective_density = 0) AS disconnected,
    count(*) FILTER (collapsed_layers > 0 OR effective_density = 0) AS failing,
    any_value(layer) AS layer,
    coalesce(any_value(in_layer), 0) AS in_layer,
    avg(min_layer_density) AS min_layer_density,
    avg(density) AS density,
    avg(effective_density) AS effective_density
FROM pruned
LEFT JOIN worst ON
    pruned.arm = worst.arm AND pruned.sparsity = worst.sparsity
    AND pruned.prune_epoch IS NOT DISTINCT FROM worst.prune_epoch
GROUP BY pruned.arm, pruned.sparsity, pruned.prune_epoch
ORDER BY ALL
