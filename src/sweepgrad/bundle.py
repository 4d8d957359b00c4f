"""The name under which models that 0.1.0 logged to MLflow import `Bundle`; it stays for ever."""

from sweepgrad.training.bundle import Bundle as Bundle
