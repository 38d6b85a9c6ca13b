-- How dense is each layer, and how often is it empty?
-- One row for each arm, sparsity and layer:
--   arm                the trials' config without seed and sparsity
--   sparsity           share of prunable weights removed
--   layer, name        its place and its name
--   trials             trials with this layer
--   collapsed          share of them in which the layer keeps no weight
--   density            mean share of its weights kept
--   effective_density  mean share of its weights kept and on a path (NULL: not known)
WITH arms AS (
    SELECT trial_id, arm, sparsity
    FROM trials
    WHERE sparsity > 0 AND NOT is_drawn(criterion)
)
SELECT
    arm, sparsity, layer, name,
    count(*) AS trials,
    avg((layers.kept = 0)::INT) AS collapsed,
    avg(layers.density) AS density,
    avg(layers.effective_density) AS effective_density
FROM layers JOIN arms USING (trial_id)
GROUP BY ALL
ORDER BY ALL
