"""The one error a user sees: a sentence that says what is wrong, where, and what to do."""

from __future__ import annotations


class FabulaError(Exception):
    """A refusal that the command line prints as one sentence, with exit code 2.

    Raise it wherever input, set-up or a file is at fault; never for a bug.
    """


class Broken(FabulaError):
    """What was being done broke off through no fault of the input, and can be gone on with."""


class MissingExtra(FabulaError):
    """A part of Fabula was asked for whose libraries are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'fabula[{extra}]'.")
