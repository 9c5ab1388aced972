"""Keep the memory of a long prediction from growing."""

import ctypes
import platform

LARGE_BYTES = 1 << 20  # 1 MiB
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


def return_large_blocks() -> None:
    """Let glibc return arrays above `LARGE_BYTES` to the system as soon as they are freed.

    By default glibc raises this limit to 32 MiB while a program runs. The arrays of bands then come
    from its heap, which cannot shrink while small arrays lie between them: memory grew by 12 bytes
    for each predicted pixel of an image of 20,000 px width. Applies to
    the whole process; other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
