"""Train in three stages: patches learn the words' embeddings, the decoder learns to answer, then to capitalise."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from vlmflow.data.scenes import Scene, draw_scene
from vlmflow.progress import Progress

from . import packing
from .architecture import EMBEDDING_SCALE, GRID, WIDTH
from .lessons import IGNORED, PATCH_WORDS, TASKS, Lesson, Teacher, patch_labels, pixels


@dataclass(frozen=True)
class Recipe:
    """All settings on which training depends besides the code."""

    seed: int = 0
    scenes_seed: int = 1  # another family of scenes than the demo study's, which is 0
    align_steps: int = 250
    align_images: int = 64
    answer_steps: int = 1150  # at most, before the rate falls
    decay_share: float = 0.3
    images: int = 16
    segments: int = 12  # texts per image
    captions: int = 4  # among these texts, in the first part of stage 2; one afterwards
    captions_share: float = 0.4
    good_enough: float = 0.965  # running accuracy of the worst task at which the rate begins to fall
    capital_steps: int = 260
    capital_layers: int = 3
    muon_rate: float = 3e-3
    adam_rate: float = 1.5e-3
    capital_rate: float = 1e-3


@dataclass
class History:
    """The history of stages 2 and 3: numbers of steps, and loss and running accuracy every ten steps."""

    rows: list[dict[str, float | str]] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)

    def add(self, stage: str, step: int, loss: float, accuracy: Iterable[float]) -> None:
        self.steps[stage] = step + 1
        if step % 10:
            return
        row: dict[str, float | str] = {"stage": stage, "step": step, "loss": loss}
        self.rows.append(row | {task: float(value) for task, value in zip(TASKS, accuracy, strict=True)})


class Scenes:
    """An endless supply of scenes; each is used once."""

    def __init__(self, seed: int) -> None:
        self.seed, self.next = seed, 0

    def take(self, count: int) -> list[Scene]:
        self.next += count
        return [draw_scene(index, self.seed) for index in range(self.next - count, self.next)]


def train(model: LlavaForConditionalGeneration, processor: LlavaProcessor, recipe: Recipe) -> History:
    """The history of a training that changes the model in place; the weights end in float32."""
    torch.manual_seed(recipe.seed)
    model.set_attn_implementation({"text_config": packing.NAME, "vision_config": "eager"})
    history, scenes = History(), Scenes(recipe.scenes_seed)
    teacher = Teacher(processor, recipe.seed)
    align_patches(model, processor, scenes, recipe)
    learn_answers(model, processor, teacher, scenes, recipe, history)
    learn_capitals(model, processor, teacher, scenes, recipe, history)
    model.set_attn_implementation("sdpa")
    return history


def _autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


# --- stage 1 ---


def align_patches(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, scenes: Scenes, recipe: Recipe
) -> None:
    """Stage 1: train image encoder and projector to give each patch the embeddings of the words that describe it."""
    words = model.get_input_embeddings().weight.detach()
    vocabulary = {
        kind: words[processor.tokenizer.convert_tokens_to_ids(list(names))] for kind, names in PATCH_WORDS.items()
    }
    ground = torch.randn(1, WIDTH) * EMBEDDING_SCALE
    vocabulary["shape"] = torch.cat([vocabulary["shape"], ground])
    axes = torch.nn.functional.normalize(torch.randn(2, WIDTH), dim=1)
    learned = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=recipe.align_steps, pct_start=0.1)
    progress = Progress("patches", recipe.align_steps, "steps")
    for _ in range(recipe.align_steps):
        batch = scenes.take(recipe.align_images)
        with _autocast():
            features = torch.stack(model.model.get_image_features(pixels(processor, batch)).pooler_output)
        loss = _patch_loss(features.float(), patch_labels(batch), vocabulary, axes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.note(loss=f"{loss.item():.3f}")
        progress.update()
    progress.close()
    _rescale_projector(model, features)
    model.model.vision_tower.requires_grad_(False)


def _patch_loss(
    features: torch.Tensor, labels: dict[str, torch.Tensor], vocabulary: dict[str, torch.Tensor], axes: torch.Tensor
) -> torch.Tensor:
    loss = torch.zeros(())
    for kind, embeddings in vocabulary.items():
        logits = features @ embeddings.T / EMBEDDING_SCALE / math.sqrt(WIDTH) * 4
        loss = loss + F.cross_entropy(logits.flatten(0, 1), labels[kind].flatten(), ignore_index=IGNORED)
    patch_centres = torch.cartesian_prod(torch.linspace(-1, 1, GRID), torch.linspace(-1, 1, GRID))
    return loss + F.mse_loss(features @ axes.T, patch_centres.expand(len(features), -1, -1))


@torch.no_grad()
def _rescale_projector(model: LlavaForConditionalGeneration, features: torch.Tensor) -> None:
    factor = EMBEDDING_SCALE / features.float().std()
    model.model.multi_modal_projector.linear_2.weight *= factor
    model.model.multi_modal_projector.linear_2.bias *= factor


# --- stages 2 and 3 ---


def learn_answers(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    teacher: Teacher,
    scenes: Scenes,
    recipe: Recipe,
    history: History,
) -> None:
    """Stage 2: train the decoder on captions and questions, with answers in lowercase."""
    decoder = model.model.language_model
    optimizers = _optimizers(model, decoder.layers, recipe.muon_rate, recipe.adam_rate)
    decay_from = recipe.answer_steps
    progress = Progress("answers", round(recipe.answer_steps * (1 + recipe.decay_share)), "steps")
    step = 0
    while step < decay_from * (1 + recipe.decay_share):
        if step < decay_from and teacher.accuracy.min() > recipe.good_enough:
            decay_from = step
        fall = 1 - max(0, step - decay_from) / (decay_from * recipe.decay_share)
        _set_rate(optimizers, min(1, (step + 1) / 40) * fall)
        captions = recipe.captions if step < recipe.captions_share * recipe.answer_steps else 1
        lesson_scenes = scenes.take(recipe.images)
        lesson = teacher.lesson(lesson_scenes, captions, recipe.segments - captions, capital=False)
        # At first, information of the image can reach the answer only through the question's words, as in large models.
        hide = step < decay_from
        loss = _learn(model, pixels(processor, lesson_scenes), lesson, teacher, optimizers, through_question=hide)
        history.add("answers", step, loss, teacher.accuracy)
        if step % 10 == 0:
            progress.note(loss=f"{loss:.3f}", accuracy=[f"{a:.2f}" for a in teacher.accuracy])
        progress.update()
        step += 1
    progress.close()
    history.steps["through_question"] = decay_from


def learn_capitals(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    teacher: Teacher,
    scenes: Scenes,
    recipe: Recipe,
    history: History,
) -> None:
    """Stage 3: train only the last layers, to write the answer with a capital."""
    top = model.model.language_model.layers[-recipe.capital_layers :]
    model.requires_grad_(False)
    top.requires_grad_(True)
    model.lm_head.requires_grad_(True)
    optimizers = _optimizers(model, top, recipe.capital_rate, recipe.capital_rate)
    teacher.accuracy[:] = 0
    progress = Progress("capitals", recipe.capital_steps, "steps")
    for step in range(recipe.capital_steps):
        _set_rate(optimizers, min(1, (step + 1) / 40) * min(1, 2 * (1 - step / recipe.capital_steps)))
        lesson_scenes = scenes.take(recipe.images)
        lesson = teacher.lesson(lesson_scenes, 0, recipe.segments, capital=True)
        loss = _learn(model, pixels(processor, lesson_scenes), lesson, teacher, optimizers)
        history.add("capitals", step, loss, teacher.accuracy)
        if step % 10 == 0:
            progress.note(loss=f"{loss:.3f}", worst=f"{teacher.accuracy.min():.2f}")
        progress.update()
    progress.close()
    model.requires_grad_(True)


def _optimizers(
    model: LlavaForConditionalGeneration, layers: torch.nn.ModuleList, muon_rate: float, adam_rate: float
) -> list[torch.optim.Optimizer]:
    """Muon for the decoder's matrices, AdamW for everything else that learns."""
    matrices = [p for p in layers.parameters() if p.ndim == 2 and p.requires_grad]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.01, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=adam_rate, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def _set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("full_rate", group["lr"])
            group["lr"] = group["full_rate"] * factor


def _learn(
    model: LlavaForConditionalGeneration,
    images: torch.Tensor,
    lesson: Lesson,
    teacher: Teacher,
    optimizers: list[torch.optim.Optimizer],
    through_question: bool = False,
) -> float:
    with _autocast():
        features = torch.stack(model.model.get_image_features(images).pooler_output)
        words = model.get_input_embeddings()(lesson.tokens)
        is_image = (lesson.tokens == model.config.image_token_id).unsqueeze(-1)
        embeddings = words.masked_scatter(is_image, features.to(words.dtype))
        hidden = model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=lesson.positions,
            use_cache=False,
            prefix=len(teacher.prefix),
            segment=lesson.segment,
            hidden=lesson.hidden if through_question else None,
        ).last_hidden_state
        learned = lesson.labels != IGNORED
        logits = model.lm_head(hidden[learned]).float()
    labels, weights, tasks = lesson.labels[learned], lesson.weights[learned], lesson.tasks[learned]
    losses = F.cross_entropy(logits, labels, reduction="none")
    loss = (losses * weights).sum() / weights.sum()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    correct = logits.argmax(1) == labels
    for task in range(len(TASKS)):
        if (of_task := tasks == task).any():
            teacher.score(task, correct[of_task].float().mean().item())
    return loss.item()
