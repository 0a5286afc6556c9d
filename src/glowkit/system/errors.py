"""What is addressed to the user: the one exception, and the one warning."""

import reprlib

_SHOWN = 60  # characters of a value in a sentence


class GlowkitError(ValueError):
    """Bad input, said in one sentence: what was wrong, where, and what to do.

    The command line prints the sentence and exits with 2; in a library it is a `ValueError`. Names
    of files come into it with their line breaks and other signs that no screen shows escaped.

    >>> str(GlowkitError("no such file: a" + chr(10) + "b")).count(chr(10))
    0
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(
            "".join(
                sign if sign.isprintable() else sign.encode("unicode_escape").decode()
                for sign in str(sentence)
            )
        )


class GlowkitWarning(UserWarning):
    """What is not refused but should be known, said in one sentence.

    The command line prints the sentence on stderr, after "note:".
    """


def shown(value: object) -> str:
    """A value as sentences show it: on one line, and short however large it is.

    >>> shown("abc"), len(shown([list(range(1000))] * 1000)) < 100
    ("'abc'", True)
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    text = short.repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."
