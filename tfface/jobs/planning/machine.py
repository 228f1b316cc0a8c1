"""Memory of this machine, and how much of it this process has used."""

import os
import pathlib
import resource
import sys

import tensorflow as tf

_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")


def host_bytes() -> int:
    """Returns the memory that this process may use: that of the machine or, in a container, of its limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _LIMIT.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdigit() else physical


def peak_bytes() -> int:
    """Returns the largest memory so far: of the tensors on a GPU, the fullest, or else of this process."""
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus:
        return max(tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"] for number in range(gpus))
    # In bytes on macOS, in kilobytes elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured(before: int, planned: int) -> str:
    """Returns a line: the largest memory so far beside the planned one.

    Args:
      before: bytes that `peak_bytes` returned before the network was built.
      planned: bytes of all replicas of this process or, on GPUs, of one.
    """
    peak, on_gpu = peak_bytes() / 1e9, bool(tf.config.list_logical_devices("GPU"))
    if on_gpu:
        return f"Peak memory: {peak:.2f} GB on the fullest GPU; {planned / 1e9:.2f} GB were planned."
    return (
        f"Peak memory: {peak:.2f} GB of this process, {before / 1e9:.2f} GB of it before the network was built; "
        f"{planned / 1e9:.2f} GB were planned for tensors."
    )
