"""The questions of the lab: a module each, found by its name."""
