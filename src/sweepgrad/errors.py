"""The exceptions for bad input."""


class UserError(Exception):
    """Bad input: a configuration, a table or a store that cannot be used.

    The command line prints the message without a traceback and exits with code 2. The message names the
    file, the key and the remedy.
    """


class DamagedFile(UserError, ValueError):
    """A file or a message from outside that does not match its schema or exceeds its limits.

    It is a `ValueError` too, so that code that reads many files can skip one.
    """
