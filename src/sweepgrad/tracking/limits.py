"""Limits of MLflow, and of the databases that it supports."""

MAX_TAG, MAX_PARAM = 5000, 6000  # characters
MAX_KEY, MAX_RUN_NAME, MAX_EXPERIMENT = 250, 250, 256
MAX_DATASET, MAX_DIGEST, MAX_SOURCE = 500, 36, 65535
MAX_BATCH = 1000  # metrics sent at once
