"""Limits of MLflow."""

MAX_TAG, MAX_PARAM, MAX_DATASET = 5000, 6000, 500  # characters; the last is of a dataset's name
MAX_BATCH = 1000  # metrics sent at once
