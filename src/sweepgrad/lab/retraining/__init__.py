"""Training the same network again: the symmetries of its weights, and a table that it can fit."""
