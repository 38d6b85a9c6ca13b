-- How does validation loss follow from kept weights and data?
-- One row for each finished trial whose loss is above 0:
--   arm        the trials' config without seed and sparsity
--   sparsity   share of prunable weights removed
--   criterion  'dense' where nothing is pruned
--   seed       of the trial
--   loss       validation loss after the last epoch
--   active     kept weights, mean over all steps of training
--   kept       kept weights at the end
--   data       training samples seen: steps × batch size (NULL in results from before there was spent_steps)
SELECT
    arm, sparsity, criterion, seed,
    val_loss AS loss,
    mean_active_params AS active,
    kept,
    spent_steps * (arm ->> '$.batch_size')::BIGINT AS data
FROM trials
WHERE
    status = 'ok' AND isfinite(val_loss) AND val_loss > 0 AND mean_active_params > 0 AND kept > 0
    AND NOT is_drawn(criterion)
ORDER BY arm, sparsity, seed
