"""Our exceptions: each message says what was wanted, what came, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class NoTimeToTrainError(Exception):
    """Base of every error that a user can mend; the command line prints it without a traceback."""


class ConfigError(NoTimeToTrainError, ValueError):
    """A key, type or value of the configuration is wrong."""


class UnknownEncoderError(ConfigError):
    """``encoder_cfg.name`` is no known preset."""


class CheckpointError(NoTimeToTrainError, ValueError):
    """A weights file is missing, damaged, or belongs to another model."""


class GatedWeightsError(CheckpointError):
    """The weights need permission from their owner; the message names the ways around that."""


class MemoryNotReadyError(NoTimeToTrainError, RuntimeError):
    """The memory bank was read before every category had a reference."""


class MemoryMismatchError(NoTimeToTrainError, ValueError):
    """A saved memory bank does not fit the configuration that loads it."""


class DatasetError(NoTimeToTrainError, ValueError):
    """Images or annotations are missing or contradict each other."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``known``, or an empty string."""
    nearest = get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


WHAT_TO_DO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, and go on with --resume"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a place that can be written to"),
}


def os_sentence(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    what = WHAT_TO_DO.get(error.errno or 0)
    return f"{where}{error.strerror or error}{f'; {what}' if what else ''}"
