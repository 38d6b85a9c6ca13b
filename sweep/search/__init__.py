"""The search for the best schedule: Optuna asks, the engine runs, Optuna is told."""
