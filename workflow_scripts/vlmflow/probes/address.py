"""The address of a measurement: everything that it depends on, as digests."""

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.store.contents import Contents, digest_of

from .base import Probe
from .question import Question

# Packages whose code takes part in a measurement.
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow")
# Modules of the library that take part in every measurement; they import most others.
MODULES = ("vlmflow.models.load", "vlmflow.probes.context", "vlmflow.probes.one_question", "vlmflow.probes.question")
ANSWERING = (*MODULES, "vlmflow.probes.answer")

# Settings of a model on which measurements depend; `content` is the digest of its files.
MODEL_SETTINGS = ("content", "template", "template_text", "dtype", "instruction", "fit", "reads")


def probing_modules(probe: type[Probe]) -> tuple[str, ...]:
    """The modules that measure a kind of probe."""
    return (*MODULES, "vlmflow.probes.run", f"{probe.__module__}.measure")


def depends_on(
    model: Mapping[str, Any], code: str, match: AnswersMatch | None, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Everything that a measurement depends on besides its question.

    Args:
        model: the settings of `MODEL_SETTINGS`.
        code: the digest of the modules that measure; see `vlmflow.store.code`.
        match: when an answer counts as correct; None if that has no influence.
        settings: of a probe; none for answers.
    """
    return {
        "model": {name: model[name] for name in MODEL_SETTINGS},
        "code": code,
        "packages": {name: version(name) for name in PACKAGES},
        "answers_match": match,
        "settings": dict(settings or {}),
    }


def question_key(question: Question, contents: Contents) -> str:
    """The digest of a question and the bytes of its image, wherever the image is; not of the name of the task.

    Raises:
        OSError: the image cannot be read.
    """
    fields = dataclasses.asdict(question) | {"image": contents.digest(question.image), "task": None}
    return digest_of(json.dumps(fields, sort_keys=True, default=list))
