"""The errors that a user can mend: one line that says what happened, where, and what to do."""

from __future__ import annotations


class DatusError(Exception):
    """Something went wrong that the message explains in one line; the command line ends with exit code 1."""

    exit_code = 1


class UsageError(DatusError):
    """A wrong argument, name or config key; the command line ends with exit code 2."""

    exit_code = 2


class StorageError(DatusError):
    """A file, folder or bucket that cannot be read or written."""


class MissingFileError(StorageError):
    """One file that is not there, or that its owner lets nobody read: the store itself is well."""


class DamagedFileError(StorageError):
    """One file whose bytes can be read, and are not what they should be: the store itself is well."""


class BackboneError(DatusError):
    """A backbone that cannot be found, read, or that does not fit its architecture."""


class ImageError(Exception):
    """One image that cannot be used: the run goes on and the image becomes a row in ``quarantine/``.

    Parameters
    ----------
    kind : str
        A short, stable name of the fault, for example ``unreadable``, ``too_small`` or ``mask_size``.
    message : str
        What is wrong, in one line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
