"""Trackers, services that show trials as runs: what a run is, and one file for each service."""

from sweep.trackers.run import Run
from sweep.trackers.service import Service, Tracker

__all__ = ["Run", "Service", "Tracker"]
