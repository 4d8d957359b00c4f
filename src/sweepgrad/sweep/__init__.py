"""Many jobs: run side by side, resumed, stopped early, and told of."""
