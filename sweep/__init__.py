"""Sweep studies of pruning: study → plan → schedule → trial → results."""
