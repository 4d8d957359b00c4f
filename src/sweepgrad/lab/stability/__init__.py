"""Gradients that vanish, explode or are noisy: depth, curvature, clipping, dropout, learning rates."""
