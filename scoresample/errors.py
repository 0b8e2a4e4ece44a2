"""Errors and warnings of the library.

Every message is one line: what came, what was needed, what to do.
"""


class ScoresampleError(ValueError):
    """Any error that the caller can mend; the command line prints it without a traceback."""


class ShapeError(ScoresampleError):
    """Arrays whose shapes do not fit each other."""


class DataError(ScoresampleError):
    """Values that cannot be used: not finite, negative weights, positions off the image."""


class FileFormatError(ScoresampleError):
    """A file that is missing, truncated, of unknown type, or lacks a key."""


class PositionError(ScoresampleError):
    """A position (free parameters) that does not fit its density."""


class ConfigError(ScoresampleError):
    """Settings that contradict each other or are out of range."""


class ScoreOnlyError(ScoresampleError):
    """A value of log_prob was asked of something that has only a score."""


FAILED = "failed: "
"""How the status of a scene begins that came to nothing; the reason follows."""


def is_failure(error: Exception) -> bool:
    """Return whether the numbers or the size of one scene can lead to this error: it ends that scene, with one line.

    Errors of the disk, and of the program itself, are not among them.
    """
    # numpy's LinAlgError by its name: this module is imported before numpy, for the help of a command.
    return isinstance(error, ScoresampleError | ArithmeticError | RuntimeError | MemoryError) or (
        type(error).__name__ == "LinAlgError"
    )


class ScoresampleWarning(UserWarning):
    """Something the user can act on."""


def one_line(error: Exception) -> str:
    """Return the message of an exception on one line."""
    return " ".join(str(error).split()) or type(error).__name__
