"""A part of one's own tried by itself: a criterion, a network or a data set; one report says what holds."""

from sweep.check.criterion import check_criterion
from sweep.check.dataset import check_dataset
from sweep.check.model import check_model
from sweep.check.report import Finding, Grid, Report

__all__ = ["Finding", "Grid", "Report", "check_criterion", "check_dataset", "check_model"]
