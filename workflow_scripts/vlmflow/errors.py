"""Every error that the library raises on purpose, as one tree; its branches differ in what an error stops.

A `StudyError` stops the workflow before its first job, a `JobError` stops one job, and a `QuestionError` skips one
question, which becomes a row of the table `skipped` with the error's message as its reason.  Every message says what is
wrong, where (file, key or question), and what to do.
"""


class VlmflowError(ValueError):
    """The base class of all errors; it is never raised itself."""


# --- before any job ---


class StudyError(VlmflowError):
    """A study file with mistakes; the message names each key, what is wrong, and what would be correct."""


class FolderError(StudyError):
    """A folder in which the workflow cannot be run; the message names it and says what to do."""


# --- one job ---


class JobError(VlmflowError):
    """An error that every further question of the job would raise as well; the message says what to do."""


class TableError(JobError):
    """A table that does not match its schema; the message names table and column."""


class WriteError(JobError, OSError):
    """A file that cannot be written; the message names it and gives the cause and the remedy."""


class DatasetError(JobError):
    """A file that does not belong to the dataset; the message names the file and what was expected."""


class DownloadError(JobError):
    """A file that could not be downloaded; the message names address and cause."""


class HubError(JobError):
    """A file of the hub that cannot be downloaded or is incomplete; the message names it and the cause."""


class NoAccessError(HubError):
    """A file that the hub does not give to the account that is logged in on this machine, or without an account."""


class ModelError(JobError):
    """A model that cannot be loaded, or whose structure the engine cannot use; the message says what is missing."""


class ProcessorError(JobError):
    """A processor that cannot be loaded, or cannot do what is requested; the message gives the cause."""


class ProcessorMismatchError(JobError):
    """A processor that contradicts its model's configuration; the message names both files, the keys and values."""


class DeviceError(JobError):
    """More GPUs are requested than this machine has; the message gives their number."""


# --- one question ---


class QuestionError(VlmflowError):
    """A question that cannot be measured; the message is the reason in its row of `skipped`."""


class RetryableQuestionError(QuestionError):
    """A question that failed because memory ran out; it is measured once more at the end of the job."""


class OutOfMemoryError(RetryableQuestionError, RuntimeError):
    """Not even the smallest batch fits into memory; the message gives its size."""


class NotApplicableError(QuestionError):
    """A measurement that has no meaning for this question, model or dataset; a job in which it is raised for all
    questions has not failed."""


class GeometryError(NotApplicableError):
    """A box or an image that cannot be mapped to patches; the message gives the cause."""


class ImageError(QuestionError):
    """A file that cannot be opened as an image; the message names it and gives the cause."""


class PromptError(QuestionError):
    """A prompt that cannot be built, or a segment that it does not have; the message says which and why."""


class ForwardError(QuestionError):
    """A prompt that the model itself fails to process; the message names the model and its error."""


class InterventionError(QuestionError):
    """An intervention that has no meaning on this recording; the message gives the cause."""


class ContentError(QuestionError):
    """A downloaded file that is not what was requested; the message says what it is."""


# Errors that the question, its image and the processor cause; all others may be the machine's, and are tried again.
LASTING = (NotApplicableError, GeometryError, ImageError, PromptError)
