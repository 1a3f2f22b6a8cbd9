"""Why an image failed, in a sentence, and whether the others would fail as well."""

from __future__ import annotations

import errno

__all__ = ["disk_is_unusable", "reason_of"]

_NO_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE}


def disk_is_unusable(error: BaseException) -> bool:
    """Whether no further result could be written either: the disk is full, read-only or gone."""
    return isinstance(error, OSError) and error.errno in _NO_DISK


def reason_of(error: BaseException) -> str:
    """Say in a sentence why an image failed; errors of this package are sentences already."""
    text = str(error) or "no reason was given"
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: {error.filename}. Check the file and the rights to it."
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        text = f"The memory is full: {text}. Close other programs, or segment this image on a larger machine."
    elif not isinstance(error, (ValueError, OSError)):
        text = f"{type(error).__name__}: {text}. This should not happen; please report it."
    # Names of files need not be UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
