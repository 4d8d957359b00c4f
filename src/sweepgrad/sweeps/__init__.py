"""Run the jobs of a sweep: in parallel, with resuming, early stopping, searches and progress messages."""
