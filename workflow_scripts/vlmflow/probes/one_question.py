"""Which errors cost one question, and which stop the job."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from vlmflow.engine.batch_size import ran_out, release_memory
from vlmflow.engine.forward import is_device_failure
from vlmflow.errors import JobError, QuestionError, RetryableQuestionError, TableError


@contextmanager
def of_one_question() -> Iterator[None]:
    """Turn errors of libraries inside of the block into errors that skip one question and errors that stop the job.

    Raises:
        QuestionError: this question cannot be measured.
        RetryableQuestionError: this question does not fit into the machine's memory.
        JobError: the device has failed, so that no other question could be measured.
    """
    try:
        yield
    except TableError as error:
        # Rows that do not match their table are those of this question.
        raise QuestionError(str(error)) from error
    except RuntimeError as error:
        if ran_out(error):
            why = str(error).splitlines()[0]
            traceback.clear_frames(error.__traceback__)
            release_memory()
            raise RetryableQuestionError(
                f"memory ran out, even for the smallest batch ({why}); a device with more memory, a smaller dtype, or "
                "`gpus: 2` may help"
            ) from None
        if is_device_failure(error):
            raise JobError(f"the device has failed: {error}") from error
        raise
