"""Import the mutant in a process that a test started; Python imports this file by its name."""

from tests.mutation.hook import install_from_environment

install_from_environment()
