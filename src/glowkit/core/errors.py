"""The one exception that is addressed to the user."""


class GlowkitError(ValueError):
    """Bad input, said in one sentence: what was wrong, where, and what to do.

    The command line prints the sentence and exits with 2; in a library it is a `ValueError`.
    """
