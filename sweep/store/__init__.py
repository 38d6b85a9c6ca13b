"""Results, locks and states, on a disk or in an object store. Only `states` imports torch."""
