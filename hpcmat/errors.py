"""The one family of errors: each message says what is wrong and ends with what to do next.

Every error carries the exit code with which the command line ends, so that a batch script can tell them apart.
"""

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_BAD_INPUT = 2
EXIT_STORAGE = 3
EXIT_DISPATCH = 4
EXIT_BUSY = 5


class HpcmatError(Exception):
    """Root of the family."""

    exit_code = EXIT_UNEXPECTED


class InputError(HpcmatError, ValueError):
    """The user's input cannot be right: campaign or site file, structure, option. Nothing was written."""

    exit_code = EXIT_BAD_INPUT


class VersionError(InputError):
    """A file was written by a newer version of hpcmat."""


class StorageError(HpcmatError, OSError):
    """The journal or the result store cannot be read or written (full disk, permissions, corruption)."""

    exit_code = EXIT_STORAGE


class DispatchError(HpcmatError, RuntimeError):
    """The machine cannot run tasks as asked."""

    exit_code = EXIT_DISPATCH


class BusyError(HpcmatError, RuntimeError):
    """Another driver runs this campaign."""

    exit_code = EXIT_BUSY
