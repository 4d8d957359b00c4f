"""Bias and variance: training sets, predictions, their decomposition and pictures."""
