-- How does training go?
-- One row for each arm, sparsity, phase and epoch:
--   arm                  the trials' config without seed and sparsity
--   sparsity             share of prunable weights removed
--   phase                dense, level N of imp, sparse, retrain
--   epoch                end of the epoch, counted from the start of training
--   trials               finished trials
--   validation_accuracy  mean over them
--   test_accuracy        mean over them
--   train_loss           mean over them
WITH arms AS (
    SELECT trial_id, arm, sparsity
    FROM trials
    WHERE status = 'ok' AND NOT is_drawn(criterion)
)
SELECT
    arm, sparsity, phase, epoch,
    count(*) AS trials,
    avg(val_accuracy) AS validation_accuracy,
    avg(test_accuracy) AS test_accuracy,
    avg(train_loss) AS train_loss
FROM curves JOIN arms USING (trial_id)
GROUP BY ALL
ORDER BY arm, sparsity, epoch, phase
