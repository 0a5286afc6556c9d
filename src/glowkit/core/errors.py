"""The one exception and the one warning that are addressed to the user."""


class GlowkitError(ValueError):
    """Bad input, said in one sentence: what was wrong, where, and what to do.

    The command line prints the sentence and exits with 2; in a library it is a `ValueError`.
    """


class GlowkitWarning(UserWarning):
    """What a function in Python returns is not all that was asked for, said in one sentence."""
