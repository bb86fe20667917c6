"""What a machine refuses: a disk that is full or may not be written, memory that is not there.

Libraries say it in exceptions of their own; here it is recognised in all of them. And whether a launcher started this
process as one of several.
"""

from __future__ import annotations

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No room on the disk, of the quota, or in a file."""

CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
"""A disk, folder or file that may not be written, or not be read."""

BROKEN = {errno.EIO, errno.EPIPE, errno.ESTALE}
"""A disk, a network disk or a reader that is gone."""

NO_MEMORY = (
    "can't allocate memory",  # torch's allocator, in a RuntimeError
    "not enough memory",
    "Cannot allocate memory",  # the loader of shared libraries, in an ImportError
    "failed to map segment",
    "can't start new thread",  # Python, in a RuntimeError
    "Resource temporarily unavailable",
)
"""What is said where memory, or a thread's part of it, could not be had."""


def refusal(error: BaseException) -> int | None:
    """The system's number of what a disk has refused; None where the error says nothing of the kind."""
    if isinstance(error, OSError):
        number = error.errno
    else:  # libraries in Rust: SafetensorError, and the plain Exception of tokenizers
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else None
    return number if number in FULL | CLOSED | BROKEN else None


def ran_out(error: BaseException) -> bool:
    """It says that memory could not be had."""
    if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN):
        return True
    said = isinstance(error, RuntimeError | ImportError | OSError) and any(text in str(error) for text in NO_MEMORY)
    return said or isinstance(error, MemoryError)


def launched() -> bool:
    """This process was started as one of several, as by `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
