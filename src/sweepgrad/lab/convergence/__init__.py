"""Convergence of SGD: problems, bounds, exact moments, trajectories and pictures."""
