"""Limits of MLflow."""

MAX_TAG, MAX_PARAM = 5000, 6000  # characters
MAX_BATCH = 1000  # metrics sent at once
