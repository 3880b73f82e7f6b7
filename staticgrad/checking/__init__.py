"""Gradients held against finite differences."""

from staticgrad.checking.check import check_grad
from staticgrad.checking.report import Disagreement, GradientError, GradientReport

__all__ = ["Disagreement", "GradientError", "GradientReport", "check_grad"]
