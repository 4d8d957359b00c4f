"""The one exception that means "what you asked for cannot be done as asked"."""


class UserError(Exception):
    """Bad input: a configuration, a table or a store that does not fit.

    The command line prints the message, without a traceback, and exits with code 2. So the message names
    the file, the key and the remedy.
    """
