"""Gradients against finite differences: whether what training follows is the slope of the loss."""

from kerasdl.watch.gradient_check.check import check_gradients
from kerasdl.watch.gradient_check.result import GradientCheck, ParameterCheck

__all__ = ["GradientCheck", "ParameterCheck", "check_gradients"]
