"""The library's codes as exceptions. Each is a MeridianError; where Python has a word for the fault it is that too."""


class MeridianError(Exception):
    """What the library refused or could not do; str() is its message. code: the number of include/meridian.h."""

    code = -1


class UsageError(MeridianError, ValueError):
    """An argument is outside what its documentation allows."""

    code = -2


class MismatchError(MeridianError, ValueError):
    """Two things that do not belong to the same model."""

    code = -3


class LockedError(MeridianError):
    """In use by another process."""

    code = -4


class DataError(MeridianError, ValueError):
    """A file or an array holds what it may not."""

    code = -5


class SpaceError(MeridianError, OSError):
    """The disk is full."""

    code = -6


class OutOfMemory(MeridianError, MemoryError):
    """There is not enough memory."""

    code = -7


class NonFiniteError(MeridianError, ValueError):
    """NaN or infinity, or a vector of length zero."""

    code = -8


class UnsupportedError(MeridianError):
    """This model or engine cannot do that."""

    code = -9


class ExistsError(MeridianError, FileExistsError):
    """The output is already there."""

    code = -10


class Interrupted(MeridianError):
    """interrupt() was called meanwhile. (Ctrl-C is a KeyboardInterrupt, as everywhere.)"""

    code = -11


_BY_CODE = {c.code: c for c in (MeridianError, UsageError, MismatchError, LockedError, DataError, SpaceError, OutOfMemory,
                                NonFiniteError, UnsupportedError, ExistsError, Interrupted)}


def error_of(code: int, text: str) -> MeridianError:
    """The exception of a code; a code of a later library is a plain MeridianError."""
    return _BY_CODE.get(code, MeridianError)(text or f"the library gave no reason (code {code})")
