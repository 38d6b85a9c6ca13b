"""What a worker does with memory it is done with: it keeps it for the next batch."""

import ctypes

# Of glibc's malloc.h: what is freed at the heap's end beyond the one, and what is larger than the other, goes
# back to the system at once.
_TRIM, _MMAP = -1, -3


def keep() -> bool:
    """Let this process keep the memory of freed tensors of up to a gigabyte.

    By default much of it goes back to the system after each batch, and every page of it is asked for, and
    zeroed, again in the next: up to half of the time of a small convolutional network on a CPU
    (`python -m benchmarks.training`).

    Returns:
        Whether the C library can do so; glibc can.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP, 2**30) and mallopt(_TRIM, 2**31 - 1))
