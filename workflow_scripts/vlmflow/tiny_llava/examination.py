"""The accuracy of the tiny LLaVA on held-out scenes, with their images and with empty ones."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlmflow.data.scenes import MAKERS, SIDE, draw_scene, render, scene_questions
from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.model_inputs import chat_text

HELD_OUT = {"scenes": 600, "seed": 2}  # a family of scenes that neither training nor the demo study uses
BLANK = (210, 210, 210)  # the mean background of the scenes


@dataclass(frozen=True)
class Score:
    """Shares of correct answers in one task."""

    questions: int
    accuracy: float
    blanked: float  # with an empty image in place of the scene
    guess: float  # of one of the two options, or of the commonest answer to questions with the same beginning


def examine(vlm: VisionLanguageModel, scenes: int, seed: int) -> dict[str, Score]:
    """Task → its score on the first `scenes` scenes of the family `seed`."""
    entries: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {task: [] for task in MAKERS}
    for index in range(scenes):
        scene = draw_scene(index, seed)
        image = render(scene)
        for question_id, entry in scene_questions(scene, seed):
            entries[list(MAKERS)[int(question_id[-1])]].append((image, entry))
    return {task: _score(vlm, entries_of_task) for task, entries_of_task in entries.items()}


def _score(vlm: VisionLanguageModel, entries_of_task: list[tuple[Image.Image, dict[str, Any]]]) -> Score:
    answers = [entry["answer"] for _, entry in entries_of_task]
    blank = Image.new("RGB", (SIDE, SIDE), BLANK)
    with_image = list(_answers(vlm, entries_of_task))
    without_image = list(_answers(vlm, [(blank, entry) for _, entry in entries_of_task]))
    return Score(
        questions=len(entries_of_task),
        accuracy=_share(with_image, answers),
        blanked=_share(without_image, answers),
        guess=_guess([entry for _, entry in entries_of_task]),
    )


def _guess(entries: list[dict[str, Any]]) -> float:
    if entries[0]["types"]["structural"] == "choose":
        return 0.5
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        answers[" ".join(entry["question"].split()[:2])][entry["answer"]] += 1
    return sum(max(counts.values()) for counts in answers.values()) / len(entries)


def _share(given: list[str], answers: list[str]) -> float:
    return sum(word.lower() == answer for word, answer in zip(given, answers, strict=True)) / len(answers)


@torch.inference_mode()
def _answers(vlm: VisionLanguageModel, entries_of_task: list[tuple[Image.Image, dict[str, Any]]]) -> Iterator[str]:
    """The first word of each answer; every answer of this model is one word."""
    for batch in _batches(entries_of_task, 50):
        texts = [chat_text(vlm.processor, entry["question"]) for _, entry in batch]
        inputs = vlm.processor(images=[p for p, _ in batch], text=texts, padding=True, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(vlm.model.dtype)
        words = vlm.model(**inputs, logits_to_keep=1).logits[:, -1].argmax(-1)
        yield from vlm.processor.tokenizer.batch_decode(words[:, None])


def _batches(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))
