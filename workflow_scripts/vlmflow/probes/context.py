"""The context of a measurement: the model, the other questions of the task, and their prompts."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.data.open_image import open_image
from vlmflow.edges import Edge, EdgeGroup
from vlmflow.errors import ModelError, NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel, VisionLanguageModel
from vlmflow.own_segments import OwnSegment
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.layouts.patch_map import Box
from vlmflow.prompts.own_segments import About, Thing, with_own_segments
from vlmflow.prompts.patch_row import size_for_boxes
from vlmflow.tables import PART_OF, Skipped

from .question import Question, unrelated


def prompt_of(vlm: LanguageModel, question: Question, instruction: str) -> Prompt:
    """The prompt of a question, with the positions of its segments.

    Args:
        vlm: the model.
        question: with its patches already computed from its boxes.
        instruction: the text on how to answer; it is added to a question, but not to a request for a description.

    Raises:
        QuestionError: the image cannot be opened, or the prompt cannot be built.
    """
    names = [each.name for each in question.objects]
    if question.correct_answer is None:
        instruction = ""
    if not isinstance(vlm, VisionLanguageModel):
        if question.captions is None:
            raise PromptError("the dataset has no captions of its image")
        return vlm.caption_prompt(question.captions, question.text, names, question.options, instruction=instruction)
    boxes: dict[str, list[Box]] = {name: [] for name in names}
    return vlm.prompt(
        open_image(question.image),
        question.text,
        objects=boxes,
        options=question.options,
        patches=question.patches,
        sinks=question.sinks,
        instruction=instruction,
        seed=question.id,
    )


@dataclass(frozen=True)
class ProbeContext:
    """Everything that a probe needs beside the question that it measures.

    Attributes:
        vlm: the model.
        instruction: text after each question.
        questions: all questions of the task, in the order in which they are measured.
        match: when an answer counts as correct.
        cache_size: number of results that are kept.
        own_segments: those that the study defines itself, by name.
        cache: results that the probe keeps for the following questions, the oldest first.
        skipped: the parts of questions that were skipped so far.
        read: the other questions that were read since the measurement began, in their order; None after the last one.
    """

    vlm: LanguageModel
    instruction: str = ""
    questions: Sequence[Question] = ()
    match: AnswersMatch = "strict"
    cache_size: int = 64
    own_segments: Mapping[str, OwnSegment] = field(default_factory=dict)
    cache: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)
    skipped: list[Skipped] = field(default_factory=list)
    read: list[Question | None] = field(default_factory=list)

    @property
    def image_model(self) -> VisionLanguageModel:
        """The model, typed as one that reads images.

        Raises:
            ModelError: the model reads captions.
        """
        if not isinstance(self.vlm, VisionLanguageModel):
            raise ModelError("a model that reads captions has no image encoder")
        return self.vlm

    def prompt(self, question: Question) -> Prompt:
        """The prompt of the question itself, with the study's own segments; see `prompt_of`."""
        prompt = prompt_of(self.vlm, question, self.instruction)
        return with_own_segments(prompt, self.own_segments, self._about(question)) if self.own_segments else prompt

    def _about(self, question: Question) -> About:
        """What the study's own segments are found in."""
        things = [Thing(each.name, each.attributes, each.box) for each in question.objects]
        about = About(self.vlm.processor, question.text, things, seed=question.id)
        if not isinstance(self.vlm, VisionLanguageModel):
            return replace(about, captions=question.captions)
        find_size = partial(size_for_boxes, question.image, question.image_size)
        return replace(about, patch_maps=self.vlm.patch_maps, find_size=find_size)

    def custom_prompt(self, question: Question, text: str) -> Prompt:
        """The prompt of the question's image and another text: one of a study's `prompts`, with placeholders filled.

        The model's instruction on how to answer is added only if the question itself is part of the text.

        Raises:
            PromptError: the question has no object to put into the text, or the prompt cannot be built.
        """
        object_name = next((each.name for each in question.objects), None)
        if object_name is None and "{object}" in text:
            raise PromptError(f"the question has no object that could replace {{object}} in {text!r}")
        filled = text.format(question=question.text, answer=question.answer, object=object_name)
        instructed = "{question}" in text and question.correct_answer is not None
        return self.image_model.prompt(
            open_image(question.image), filled, instruction=self.instruction if instructed else ""
        )

    def unrelated(self, question: Question) -> Iterator[Question]:
        """The other questions of the task that are about another image; they are noted in `read`."""
        number = 0
        for number, other in enumerate(unrelated(self.questions, question), 1):
            if number > len(self.read):
                self.read.append(other)
            yield other
        if number == len(self.read):
            self.read.append(None)

    def keep(self, key: Hashable, result: Any) -> None:
        """Put a result into the cache, and drop the oldest ones beyond `cache_size`."""
        self.cache[key] = result
        while len(self.cache) > self.cache_size:
            self.cache.popitem(last=False)

    def leave_out(self, question: Question, what: str, reason: str) -> None:
        """Record that a part of the question is not measured, as a row of the table `skipped`."""
        self.skipped.append(Skipped(question.id, what, reason))

    def applicable_edges(
        self, question: Question, prompt: Prompt, edges: Sequence[EdgeGroup], *, required: bool = True
    ) -> list[str]:
        """The edges, as text, that apply to the prompt; the others are recorded as skipped.

        Args:
            question: the question of the prompt.
            prompt: its prompt.
            edges: groups of the probe's edges; one applies if all of its edges do.
            required: whether there is nothing to measure without an edge.

        Raises:
            NotApplicableError: no edge applies, and one is required.
        """
        single = [edge for group in edges for edge in group.edges]
        named = dict.fromkeys(segment for edge in single for segment in (edge.source, edge.target))
        for segment in named:
            if segment in prompt.incomplete:
                self.leave_out(question, PART_OF + segment, prompt.incomplete[segment])
        applicable = []
        for group in edges:
            reason = next((why for edge in group.edges if (why := _why_absent(prompt, edge)) is not None), None)
            if reason is None:
                applicable.append(str(group))
            else:
                self.leave_out(question, str(group), reason)
        if required and not applicable:
            raise NotApplicableError("no edge of the probe applies to this question")
        return applicable


@contextmanager
def left_out(context: ProbeContext, question: Question, what: str) -> Iterator[None]:
    """In the block, a part of the measurement that does not apply to the question is recorded as skipped."""
    try:
        yield
    except (PromptError, NotApplicableError) as error:
        context.leave_out(question, what, str(error))


def _why_absent(prompt: Prompt, edge: Edge) -> str | None:
    """The reason why an edge does not apply to a prompt; None if it applies."""
    try:
        sources, targets = prompt.positions(edge.source), prompt.positions(edge.target)
    except PromptError as error:
        return str(error)
    if targets.max() < sources.min():
        return f"all of {edge.target!r} stands before {edge.source!r} in this question, and attends to none of it"
    return None
