-- Where do criteria remove whole layers, and from which prune epoch on is it safe?
-- One row for each arm and sparsity:
--   arm                the trials' config without seed and sparsity
--   sparsity           share of prunable weights removed
--   prune_epoch        when they were removed
--   trials             trials that were pruned
--   collapsed          trials with a layer that keeps no weight
--   disconnected       trials without a kept weight on a path from input to output
--   failing            trials with one or both
--   layer, in_layer    the layer that is emptied most often, and in how many trials
--   min_layer_density  mean of the lowest layer density
--   density            mean share of weights kept
--   effective_density  mean share of weights kept and on a path (NULL: not known)
WITH pruned AS (
    FROM trials WHERE sparsity > 0 AND density IS NOT NULL AND NOT is_drawn(criterion)
),
emptied AS (
    SELECT arm, sparsity, name, min(layer) AS place, count(*) AS trials
    FROM layers JOIN (SELECT trial_id, arm, sparsity FROM pruned) USING (trial_id)
    WHERE kept = 0
    GROUP BY ALL
),
worst AS (
    SELECT arm, sparsity, arg_min(name, (-trials, place)) AS layer, max(trials) AS in_layer
    FROM emptied
    GROUP BY ALL
)
SELECT
    arm, sparsity,
    any_value(prune_epoch) AS prune_epoch,
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
LEFT JOIN worst USING (arm, sparsity)
GROUP BY arm, sparsity
ORDER BY ALL
