"""The Python API, for notebooks and scripts. The command line prints what its functions return."""
