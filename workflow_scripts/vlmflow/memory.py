"""How much runs at a time: less, once a device's memory has run out."""

from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import find_executable_batch_size, should_reduce_batch_size

T = TypeVar("T")


class NoRoomError(RuntimeError):
    """Memory does not suffice for the smallest batch; the message says how large that is."""


class Room:
    """The size of batches of one kind of work, in whatever unit is fit for it.

    It is halved when memory runs out, and stays so for what follows: of a thousand questions, one finds out.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, work: Callable[[int], T], *, most: int, smallest: int = 1) -> T:
        """What `work` gives for the largest size for which there is memory.

        Args:
            work: is given a size, and must not keep anything of an attempt that failed.
            most: what a larger size would make no difference to.
            smallest: the same for a smaller one.

        Raises:
            NoRoomError: not even the smallest fits.
        """
        try:
            return work(self.size)
        except RuntimeError as error:
            if not ran_out(error):
                raise

        def halve() -> int:
            if self.size <= smallest:
                raise NoRoomError(f"memory does not suffice for the smallest batch (size {smallest})")
            self.size = max(min(self.size, most) // 2, smallest)
            print(f"memory ran out: from here on batches have half the size, {self.size}")
            return self.size

        # The finder first collects garbage, which takes longer than most batches: only now it is asked.
        return find_executable_batch_size(work, starting_batch_size=halve(), reduce_batch_size_fn=halve)()


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device's memory, or the machine's, has run out."""
    return isinstance(error, NoRoomError) or (isinstance(error, Exception) and should_reduce_batch_size(error))
