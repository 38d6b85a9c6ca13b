"""Freed memory of a worker: the C library keeps it for the next batch."""

import ctypes

# Parameters of glibc's mallopt (malloc.h), in bytes: freed memory at the end of the heap above the first goes
# back to the system, and so does every block above the second.
_TRIM, _MMAP = -1, -3


def keep() -> bool:
    """Let this process keep the memory of freed tensors of up to a gigabyte.

    By default much of that memory goes back to the system after each batch. The next batch asks for it again,
    page by page, and the system zeroes each page. That takes up to half of the time of a small convolutional
    network on a CPU (`python -m benchmarks.training`).

    Returns:
        Whether the C library has these parameters; glibc has.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP, 2**30) and mallopt(_TRIM, 2**31 - 1))
