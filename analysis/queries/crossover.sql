-- By how much does one criterion differ from another, seed by seed, and where does the sign change?
-- SET VARIABLE first = 'snip' and second = 'random' (the defaults) choose the criteria, or criterion:scope; first = '*'
-- takes every criterion but the second.
-- One row for each pair of arms that differ only in how they choose the mask, and sparsity:
--   first, second  their configs without seed and sparsity
--   sparsity       share of prunable weights removed
--   trials         seeds that finished in both
--   mean           mean over the seeds of the first's test accuracy (last epoch) minus the second's
--   deviation      standard deviation of that difference (NULL for one seed)
--   seeds          the seeds, rising
--   differences    the difference for each of them
--   lost           both test accuracies for each seed that both ran and not both finished; an accuracy is NULL if
--                  its trial failed, diverged or ended with NaN (lost is NULL: no such seed)
WITH cells AS MATERIALIZED (
    SELECT
        hash(arm) AS key,  -- arms are long
        sparsity,
        any_value(criterion) AS criterion,
        any_value(scope) AS scope,
        list(seed) AS seeds,
        list(CASE WHEN status = 'ok' AND isfinite(test_accuracy) THEN test_accuracy END) AS accuracies
    FROM trials
    WHERE
        status <> 'stopped'
        AND sparsity > 0 AND NOT is_drawn(criterion)
        AND (
            coalesce(getvariable('first'), 'snip') = '*'
            OR is_criterion(coalesce(getvariable('first'), 'snip'), criterion)
            OR is_criterion(coalesce(getvariable('second'), 'random'), criterion)
        )
    GROUP BY ALL
),
placed AS MATERIALIZED (
    -- One key to join by: sparsity by itself would be a poor one to begin with.
    SELECT *, hash(setting, sparsity) AS place,
        is_named(coalesce(getvariable('second'), 'random'), criterion, scope) AS is_second,
        CASE coalesce(getvariable('first'), 'snip')
            WHEN '*' THEN NOT is_criterion(coalesce(getvariable('second'), 'random'), criterion)
            ELSE is_named(coalesce(getvariable('first'), 'snip'), criterion, scope)
        END AS is_first
    FROM cells JOIN settings ON key = hash(arm)
),
paired AS MATERIALIZED (
    SELECT
        row_number() OVER () AS pair, one.arm AS first, other.arm AS second, one.sparsity,
        one.seeds AS seeds, one.accuracies AS accuracies,
        other.seeds AS other_seeds, other.accuracies AS other_accuracies
    FROM placed AS one
    JOIN placed AS other ON one.place = other.place
    WHERE one.is_first AND other.is_second AND one.arm <> other.arm
),
by_seed AS (
    SELECT
        pair, seed, one.accuracy - other.accuracy AS difference,
        CASE WHEN difference IS NULL THEN {first: one.accuracy, second: other.accuracy} END AS lost
    FROM (SELECT pair, unnest(seeds) AS seed, unnest(accuracies) AS accuracy FROM paired) AS one
    JOIN (SELECT pair, unnest(other_seeds) AS seed, unnest(other_accuracies) AS accuracy FROM paired) AS other
        USING (pair, seed)
),
answers AS (
    SELECT
        pair,
        count(difference) AS trials,
        avg(difference) AS mean,
        stddev_samp(difference) AS deviation,
        list(seed ORDER BY seed) FILTER (difference IS NOT NULL) AS seeds,
        list(difference ORDER BY seed) FILTER (difference IS NOT NULL) AS differences,
        list(lost) FILTER (difference IS NULL) AS lost
    FROM by_seed
    GROUP BY pair
)
SELECT first, second, sparsity, trials, mean, deviation, answers.seeds, differences, lost
FROM answers
JOIN paired USING (pair)
ORDER BY first, second, sparsity
