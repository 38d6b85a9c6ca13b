-- What does each answer cost, and what is an hour worth?
-- One row for each arm and sparsity (an answer is the mean accuracy of one):
--   arm                the trials' config without seed and sparsity
--   sparsity           share of prunable weights removed
--   trials             all trials, with those that failed or were stopped: they cost time too
--   cpu_hours          of trials that ran on CPUs: a worker's time, in hours
--   gpu_hours          of trials that ran on a GPU, or on their share of one
--   scoring            share of the time that went into choosing masks
--   test_accuracy      mean after retraining (last epoch)
--   accuracy_per_hour  that mean, by the mean hours of a trial
SELECT
    arm,
    sparsity,
    count(*) AS trials,
    coalesce(sum(wall_seconds) FILTER (device IS NULL OR device = 'cpu'), 0) / 3600 AS cpu_hours,
    coalesce(sum(wall_seconds) FILTER (device <> 'cpu'), 0) / 3600 AS gpu_hours,
    sum(score_seconds) / nullif(sum(wall_seconds), 0) AS scoring,
    avg(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy)) AS test_accuracy,
    avg(test_accuracy) FILTER (status = 'ok' AND isfinite(test_accuracy))
        / nullif(avg(wall_seconds) FILTER (status = 'ok' AND isfinite(test_accuracy)) / 3600, 0) AS accuracy_per_hour
FROM trials
GROUP BY arm, sparsity
ORDER BY ALL
