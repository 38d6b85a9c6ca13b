-- How much do the masks of two trials have in common, which differ only in how they choose the mask?
-- SET VARIABLE first and second choose the criteria, or criterion:scope, or two trials by their ids; '*' (the default):
-- every one. SET VARIABLE between = 'prune_epoch' pairs trials that differ in this field alone, of the criterion first.
-- One row for each pair of arms, sparsity and layer:
--   first, second                  configs without seed and sparsity
--   sparsity                       share of prunable weights removed; of two trials: of the first
--   layer, name                    the layer's place and name; NULL: all layers together
--   seeds                          with masks of both in which a weight is kept, rising
--   jaccard                        for each seed: weights that both keep over weights that either keeps
--   random                         the same for random masks that keep as many weights of each layer
--   density_first, density_second  mean share of the weights that each keeps
WITH chosen AS MATERIALIZED (
    SELECT
        trial_id, arm, sparsity, seed,
        hash(
            CASE
                WHEN coalesce(getvariable('between'), '') = '' THEN setting
                ELSE json_merge_patch(arm, json_object(getvariable('between')::VARCHAR, NULL))::VARCHAR
            END,
            sparsity, seed
        ) AS place,
        coalesce(getvariable('first'), '*') AS wanted_first,
        coalesce(getvariable('second'), '*') AS wanted_second,
        wanted_first = '*' OR is_named(wanted_first, criterion, scope) AS is_first,
        CASE
            WHEN coalesce(getvariable('between'), '') <> '' THEN is_first
            WHEN wanted_second = '*' THEN wanted_first = '*' OR NOT is_first
            ELSE is_named(wanted_second, criterion, scope)
        END AS is_second
    FROM trials
    JOIN settings USING (arm)
    WHERE status = 'ok' AND sparsity > 0 AND NOT is_drawn(criterion)
),
pairs AS MATERIALIZED (
    SELECT one.arm AS first, other.arm AS second, one.sparsity, one.seed, one.trial_id AS a, other.trial_id AS b
    FROM chosen AS one
    JOIN chosen AS other USING (place)
    WHERE one.is_first AND other.is_second AND one.arm <> other.arm
        AND (NOT (other.is_first AND one.is_second) OR one.arm < other.arm)
    UNION ALL
    SELECT one.arm, other.arm, one.sparsity, one.seed, one.trial_id, other.trial_id
    FROM trials AS one
    JOIN trials AS other ON one.trial_id = getvariable('first') AND other.trial_id = getvariable('second')
),
known AS (
    SELECT trial_id, layer, name, params, kept, bits::BIT AS bits
    FROM masks
    WHERE trial_id IN (SELECT unnest([a, b]) FROM pairs)
),
shared AS MATERIALIZED (
    SELECT
        first, second, sparsity, seed, one.layer, one.name, one.params,
        one.kept AS kept_first, other.kept AS kept_second,
        bit_count(one.bits & other.bits) AS common,
        one.kept * (other.kept / one.params) AS chance
    FROM pairs
    JOIN known AS one ON one.trial_id = a
    JOIN known AS other
        ON other.trial_id = b AND other.layer = one.layer AND other.name = one.name AND other.params = one.params
),
rolled AS (
    SELECT
        first, second, sparsity, seed, layer, name,
        sum(params) AS params, sum(kept_first) AS kept_first, sum(kept_second) AS kept_second,
        sum(common) AS common, sum(chance) AS chance
    FROM shared
    GROUP BY GROUPING SETS (
        (first, second, sparsity, seed), (first, second, sparsity, seed, layer, name)
    )
)
SELECT
    first, second, sparsity, layer, name,
    list(seed ORDER BY seed) AS seeds,
    list(common / (kept_first + kept_second - common) ORDER BY seed) AS jaccard,
    list(chance / (kept_first + kept_second - chance) ORDER BY seed) AS random,
    avg(kept_first / params) AS density_first,
    avg(kept_second / params) AS density_second
FROM rolled
WHERE kept_first + kept_second > 0
GROUP BY ALL
ORDER BY first, second, sparsity, layer NULLS FIRST
