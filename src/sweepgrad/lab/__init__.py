"""The lab: questions about how networks learn, each answered by a configuration that runs."""
