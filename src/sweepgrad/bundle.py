"""The module from which models that 0.1.0 logged to MLflow import `Bundle`; do not remove it."""

from sweepgrad.training.bundle import Bundle as Bundle
