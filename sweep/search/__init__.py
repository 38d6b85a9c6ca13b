"""The search for the best schedule: Optuna is asked, the engine runs, Optuna is told."""
