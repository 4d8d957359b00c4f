"""The exception for bad input."""


class UserError(Exception):
    """Bad input: a configuration, a table or a store that cannot be used.

    The command line prints the message without a traceback and exits with code 2. The message names the
    file, the key and the remedy.
    """
