"""How well the tiny LLaVA answers about scenes that it has not seen, and without seeing them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlmflow.data.scenes import MAKERS, SIDE, draw_scene, render, scene_questions
from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.build import chat_text

HELD_OUT = {"scenes": 600, "seed": 2}  # a family of scenes that neither training nor the demo study draws from
BLANK = (210, 210, 210)  # the mean ground of the scenes


@dataclass(frozen=True)
class Score:
    """Shares of correct answers in one task."""

    questions: int
    accuracy: float
    blanked: float  # with an empty image in place of the scene
    guess: float  # with one of the two options, or the commonest answer to questions that begin alike


def examine(vlm: VisionLanguageModel, scenes: int, seed: int) -> dict[str, Score]:
    """Scores by task on the first `scenes` scenes of the family `seed`."""
    entries: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {task: [] for task in MAKERS}
    for index in range(scenes):
        scene = draw_scene(index, seed)
        image = render(scene)
        for question_id, entry in scene_questions(scene, seed):
            entries[list(MAKERS)[int(question_id[-1])]].append((image, entry))
    return {task: _score(vlm, asked) for task, asked in entries.items()}


def _score(vlm: VisionLanguageModel, asked: list[tuple[Image.Image, dict[str, Any]]]) -> Score:
    answers = [entry["answer"] for _, entry in asked]
    blank = Image.new("RGB", (SIDE, SIDE), BLANK)
    seen = list(_said(vlm, asked))
    unseen = list(_said(vlm, [(blank, entry) for _, entry in asked]))
    return Score(
        questions=len(asked),
        accuracy=_share(seen, answers),
        blanked=_share(unseen, answers),
        guess=_guess([entry for _, entry in asked]),
    )


def _guess(entries: list[dict[str, Any]]) -> float:
    if entries[0]["types"]["structural"] == "choose":
        return 0.5
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        answers[" ".join(entry["question"].split()[:2])][entry["answer"]] += 1
    return sum(max(counts.values()) for counts in answers.values()) / len(entries)


def _share(said: list[str], answers: list[str]) -> float:
    return sum(word.lower() == answer for word, answer in zip(said, answers, strict=True)) / len(answers)


@torch.inference_mode()
def _said(vlm: VisionLanguageModel, asked: list[tuple[Image.Image, dict[str, Any]]]) -> Iterator[str]:
    """The first word of each answer; every answer of this model is one word."""
    for batch in _batches(asked, 50):
        texts = [chat_text(vlm.processor, entry["question"]) for _, entry in batch]
        inputs = vlm.processor(images=[p for p, _ in batch], text=texts, padding=True, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(vlm.model.dtype)
        words = vlm.model(**inputs, logits_to_keep=1).logits[:, -1].argmax(-1)
        yield from vlm.processor.tokenizer.batch_decode(words[:, None])


def _batches(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))
