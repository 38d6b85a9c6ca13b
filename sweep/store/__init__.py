"""What is on disk or in an object store: results, locks, states. Only `states` imports torch."""
