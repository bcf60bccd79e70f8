"""The training data of the tiny LLaVA: scenes, captions and questions, packed so that each image is read once."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import LlavaProcessor

from vlmflow.data.scenes import (
    CELL,
    COLORS,
    KINDS,
    MAKERS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    describe,
    make_question,
    render,
)

from .architecture import GRID

TASKS = tuple(MAKERS)
PATCH_WORDS = {
    "shape": SHAPES,
    "color": tuple(COLORS),
    "size": tuple(SIZES),
    "texture": TEXTURES,
    "hposition": ("left", "right"),
    "vposition": ("top", "bottom"),
}
IGNORED = -100


@dataclass(frozen=True)
class Segment:
    """A text about an image.

    Attributes:
        tokens: question, template, answer.
        with_image: number of first tokens that attend to the image even if the lesson hides it: those of the question's
            own words.
        answer_from: index of the first token that is to be learned.
        task: name of the task; None for a caption, and for a question of no task.
    """

    tokens: list[int]
    with_image: int
    answer_from: int
    task: str | None


@dataclass(frozen=True)
class Lesson:
    """A batch of images with several texts each; positions are (images, tokens)."""

    tokens: torch.Tensor
    positions: torch.Tensor
    segment: int  # tokens of each text, including the padding at its end
    hidden: torch.Tensor  # (images, texts, tokens of each, prefix) True for the image, after each question's end
    labels: torch.Tensor  # the next token where it is to be learned, IGNORED elsewhere
    weights: torch.Tensor
    tasks: torch.Tensor  # index into TASKS at the position that predicts the answer, -1 elsewhere


def pixels(processor: LlavaProcessor, scenes: list[Scene]) -> torch.Tensor:
    images = [render(scene) for scene in scenes]
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def patch_labels(scenes: list[Scene]) -> dict[str, torch.Tensor]:
    """For each attribute, (images, patches) the value in a patch: an index into PATCH_WORDS, or background."""
    labels = {kind: torch.full((len(scenes), GRID, GRID), IGNORED) for kind in PATCH_WORDS}
    labels["shape"][:] = len(SHAPES)
    for image, scene in enumerate(scenes):
        for thing in scene.things:
            end_x, end_y = thing.x + thing.side - 1, thing.y + thing.side - 1
            rows, columns = slice(thing.y // CELL, end_y // CELL + 1), slice(thing.x // CELL, end_x // CELL + 1)
            for kind, words in PATCH_WORDS.items():
                labels[kind][image, rows, columns] = words.index(thing.attribute(kind))
    return {kind: values.flatten(1) for kind, values in labels.items()}


class Teacher:
    """Makes lessons; keeps the running accuracy of each task, and asks more questions of tasks with a low accuracy."""

    def __init__(self, processor: LlavaProcessor, seed: int) -> None:
        self.tokenizer = processor.tokenizer
        self.rng = np.random.default_rng([seed, 7])
        self.accuracy = np.zeros(len(TASKS))
        # The prompt's own template, so that training and use have the same tokens.
        content = [{"type": "image"}, {"type": "text", "text": "?"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        before, self.after = text.split("?")
        self.prefix = self.tokenizer(before.replace("<image>", "<image>" * GRID**2)).input_ids
        self._known: dict[str, list[int]] = {}

    def lesson(self, scenes: list[Scene], captions: int, questions: int, capital: bool) -> Lesson:
        """A lesson with these numbers of texts about every scene."""
        rows = []
        for scene in scenes:
            rows.append([self._caption(scene) for _ in range(captions)] + self._questions(scene, questions, capital))
        return self._packed(rows)

    def score(self, task: int, correct: float, weight: float = 0.05) -> None:
        self.accuracy[task] += weight * (correct - self.accuracy[task])

    def _questions(self, scene: Scene, questions: int, capital: bool) -> list[Segment]:
        segments = []
        need = 0.1 + 1 - self.accuracy
        for task in self.rng.choice(len(TASKS), size=questions, p=need / need.sum()):
            name = TASKS[task]
            if name == "LogicalObj" and self.rng.random() < 0.5 * (1 - self.accuracy[task]):
                question, answer = self._one_clause(scene)
                segments.append(self._segment(question, answer.capitalize() if capital else answer, None))
            elif entry := make_question(scene, name, self.rng):
                answer = str(entry["answer"])
                segments.append(self._segment(str(entry["question"]), answer.capitalize() if capital else answer, name))
        return segments

    def _caption(self, scene: Scene) -> Segment:
        """A caption of two things: about as long as a question, so that texts need little padding."""
        things = [scene.things[index] for index in self.rng.permutation(len(scene.things))[:2]]
        segment = self._segment("Describe .", describe(Scene(scene.id, tuple(things), 0)), None)
        return replace(segment, with_image=len(segment.tokens))

    def _one_clause(self, scene: Scene) -> tuple[str, str]:
        """(question, answer) of an easier form of LogicalObj: about one shape, which in every third question is
        absent."""
        kind = str(self.rng.choice(KINDS))
        wanted = str(self.rng.choice(PATCH_WORDS[kind]))
        if self.rng.random() < 1 / 3:
            absent = [shape for shape in SHAPES if shape not in {thing.shape for thing in scene.things}]
            return f"Is there a {self.rng.choice(absent)} that is {wanted}?", "no"
        thing = scene.things[self.rng.integers(len(scene.things))]
        value = thing.attribute(kind)
        if self.rng.random() < 0.5:
            value = wanted
        return f"Is there a {thing.shape} that is {value}?", "yes" if value == thing.attribute(kind) else "no"

    def _segment(self, question: str, answer: str, task: str | None) -> Segment:
        prompt, reply = self._tokens(question + self.after), self._tokens(answer)
        tokens = [*prompt, *reply, self.tokenizer.eos_token_id]
        return Segment(tokens, with_image=len(self._tokens(question)), answer_from=len(prompt), task=task)

    def _tokens(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self._known[text]

    def _packed(self, rows: list[list[Segment]]) -> Lesson:
        start = len(self.prefix)
        size = max(len(segment.tokens) for row in rows for segment in row)
        shape = (len(rows), start + size * max(map(len, rows)))
        tokens = torch.full(shape, self.tokenizer.pad_token_id)
        labels, weights, tasks = torch.full(shape, IGNORED), torch.zeros(shape), torch.full(shape, -1)
        hidden = torch.zeros(len(rows), max(map(len, rows)), size, start, dtype=torch.bool)
        image = torch.tensor(self.prefix) == self.tokenizer.convert_tokens_to_ids("<image>")
        tokens[:, :start] = torch.tensor(self.prefix)
        for row, segments in enumerate(rows):
            for number, segment in enumerate(segments):
                begin = start + number * size
                end, answer = begin + len(segment.tokens), begin + segment.answer_from
                tokens[row, begin:end] = torch.tensor(segment.tokens)
                labels[row, answer - 1 : end - 1] = tokens[row, answer:end]
                weights[row, answer - 1 : end - 1] = 1.0 if segment.task else 0.3
                hidden[row, number, segment.with_image :] = image
                if segment.task:
                    tasks[row, answer - 1] = TASKS.index(segment.task)
        indices = torch.arange(shape[1])
        positions = torch.where(indices < start, indices, start + (indices - start) % size)
        return Lesson(tokens, positions.expand(shape), size, hidden, labels, weights, tasks)
