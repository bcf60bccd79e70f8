"""Batch sizes that shrink once a device's memory has run out."""

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, find_executable_batch_size, should_reduce_batch_size

from vlmflow.errors import OutOfMemoryError

T = TypeVar("T")


class AdaptiveBatchSize:
    """The size of batches of one kind of work, in the unit of that work.

    It is halved when memory runs out, and stays small, so that later questions do not have to fail first.  After some
    batches that fitted, it is doubled again, since it may have been only that question that was large.
    """

    def __init__(self, size: int) -> None:
        """Begin with `size`, which is never exceeded."""
        self.size = self.largest = size
        self.fitted = 0

    def run(self, work: Callable[[int], T], *, most: int, smallest: int = 1) -> T:
        """The result of `work` for the largest size for which there is memory.

        Args:
            work: called with a size; it must not keep anything of an attempt that failed.
            most: size above which a larger size makes no difference.
            smallest: size below which a smaller size makes no difference.

        Raises:
            OutOfMemoryError: not even the smallest fits.
        """
        self.fitted += 1
        if self.fitted > PATIENCE and self.size < self.largest:
            self.size, self.fitted = min(2 * self.size, self.largest), 0
        try:
            return work(self.size)
        except RuntimeError as error:
            if not ran_out(error):
                raise

        def halve() -> int:
            if self.size <= smallest:
                raise OutOfMemoryError(f"memory does not suffice for the smallest batch (size {smallest})")
            self.size, self.fitted = max(min(self.size, most) // 2, smallest), 0
            print(f"memory ran out: from now on batches have half the size, {self.size}")
            return self.size

        # This function first collects garbage, which takes longer than most batches, so it is called only now.
        return find_executable_batch_size(work, starting_batch_size=halve(), reduce_batch_size_fn=halve)()


def ran_out(error: BaseException) -> bool:
    """Whether an error means that a device's memory, or the machine's, has run out."""
    if isinstance(error, OutOfMemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return should_reduce_batch_size(error) or any(text in str(error) for text in OUT_OF_MEMORY)


def release_memory() -> None:
    """Free memory that is no longer used, on the device as well."""
    clear_device_cache(garbage_collection=True)


# Batches that fit before a larger size is tried again; and messages of libraries below PyTorch when memory runs out.
PATIENCE = 100
OUT_OF_MEMORY = ("error: out of memory", "STATUS_ALLOC_FAILED")
