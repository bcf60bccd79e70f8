"""Compare replay with the methods of others, in numbers and in seconds, on the same model and the same questions.

    python benchmarks/others.py                                              # the demo's model, on drawn scenes
    python benchmarks/others.py --preset small --window 9 --plain-share 0.1  # 16 layers, width 512, random weights

The methods of others are in `plain_hooks.py`: one full forward per edge and layer, per head and layer, per patched
segment and layer, or per set of edges.  `--plain-share 0.1` runs a tenth of them, compares these, and scales the
seconds.  Numbers are compared in float64; seconds are measured in `--dtype`: per question the fastest of `--repeats`,
the two in turns.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from statistics import mean

import torch
from methods_of_others import Method, Question, methods
from plain_hooks import HookedLlava
from random_models import PRESETS, build, build_prompt
from torch import Tensor

from vlmflow import load_model
from vlmflow.data.scenes import draw_scene, render, scene_questions
from vlmflow.engine.timing import timed
from vlmflow.notebook import VisionLanguageModel

TINY_LLAVA = Path(__file__).parents[1] / "resources" / "tiny-llava"
SEED = 0  # of the family of scenes that the demo draws
TRIES = 100  # of images about which the model may answer otherwise
TOLERANCE = 1e-9


def scene_questions_of(vlm: VisionLanguageModel) -> Iterator[Question]:
    """A question about each drawn scene, of the tasks in turn; the other image is the next one about which the model
    answers otherwise."""
    for index in count():
        scene = draw_scene(index, SEED)
        entries = [entry for _, entry in scene_questions(scene, SEED)]
        text = entries[index % len(entries)]["question"]
        objects = {each.shape: [(each.x, each.y, each.side, each.side)] for each in scene.things if each.shape in text}
        prompt = vlm.prompt(render(scene), text, objects)
        answer = vlm.answer(prompt)
        others = (vlm.prompt(render(draw_scene(index + 1 + more, SEED)), text, objects) for more in range(TRIES))
        other = next((each for each in others if vlm.answer(each).text != answer.text), None)
        if other is None:
            raise SystemExit(f"{text!r}: the model answers {answer.text!r} about {TRIES} other images too")
        yield Question(prompt, other, answer.token_ids[0])


def opened(args: argparse.Namespace, dtype: str) -> tuple[VisionLanguageModel, list[Question]]:
    """The model in this type, and its questions."""
    if not args.preset:
        vlm = load_model(args.model, device="cpu", dtype=dtype)
        return vlm, list(islice(scene_questions_of(vlm), args.questions))
    vlm = build(args.preset, "cpu", getattr(torch, dtype))
    prompt = build_prompt(vlm, getattr(torch, dtype))
    mirrored = {"pixel_values": prompt.inputs["pixel_values"].flip(-1)}
    token = int(vlm.logits(vlm.record(prompt).output[0, -1]).argmax())
    return vlm, [Question(prompt, replace(prompt, inputs=prompt.inputs | mirrored), token)]


def counted(vlm: VisionLanguageModel, question: Question, work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """(the result of `work`, positions × layers that it computes, in forwards of the question's prompt)."""
    sizes: list[int] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, args: sizes.append(args[0][..., 0].numel())) for layer in vlm.layers
    ]
    result = work()
    for handle in handles:
        handle.remove()
    return result, sum(sizes) / (len(question.prompt) * len(vlm.layers))


def both(
    method: Method, vlm: VisionLanguageModel, question: Question, step: int
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """What computes the numbers by hooks, and what computes them by replay."""
    hooked = HookedLlava(vlm.model)
    return (
        lambda: method.by_hooks(hooked, question).numbers(step),
        lambda: method.by_replay(vlm, question).numbers(),
    )


def numbers(method: Method, vlm: VisionLanguageModel, question: Question, step: int) -> dict[str, float]:
    """The forwards of both, the largest difference between their numbers, and the largest effect."""
    by_hooks, by_replay = both(method, vlm, question, step)
    hooked, done = counted(vlm, question, by_hooks)
    replayed, forwards = counted(vlm, question, by_replay)
    chosen = torch.cat([replayed[:1], replayed[1::step]]) if len(hooked) < len(replayed) else replayed
    return {
        "forwards_done": done,
        "forwards": done + len(replayed) - len(chosen),
        "replay_forwards": forwards,
        "effect": (hooked - hooked[0]).abs().max().item(),
        "difference": (hooked - chosen).abs().max().item(),
    }


def compare(args: argparse.Namespace) -> Iterator[dict[str, float | str]]:
    """A row for each method, over all questions."""
    step = max(1, round(1 / args.plain_share))
    (exact, exact_questions), (vlm, questions) = opened(args, "float64"), opened(args, args.dtype)
    for name, method in methods(args.window).items():
        found = [numbers(method, exact, question, step) for question in exact_questions]
        seconds = []
        for question, row in zip(questions, found, strict=True):
            plain, replay = timed(both(method, vlm, question, step), args.repeats, vlm.device)
            seconds.append((plain * row["forwards"] / row["forwards_done"], replay))
        plain, replay = map(mean, zip(*seconds, strict=True))
        yield {
            "method": name,
            "forwards": round(found[0]["forwards"]),
            "replay_forwards": round(mean(row["replay_forwards"] for row in found), 1),
            "hooks_s": round(plain, 3),
            "replay_s": round(replay, 4),
            "times_faster": round(plain / replay, 1),
            "largest_effect": max(row["effect"] for row in found),
            "largest_difference": max(row["difference"] for row in found),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--model", type=Path, default=TINY_LLAVA, help="folder of a LLaVA on a Llama")
    parser.add_argument("--preset", choices=PRESETS, help="a model with random weights, with one question, instead")
    parser.add_argument("--window", type=int, default=3, help="layers in which the six edges are knocked out, odd")
    parser.add_argument("--dtype", default="float32", help="of the model whose seconds are measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--plain-share", type=float, default=1.0, help="of the full forwards that are run")
    parser.add_argument("--json", action="store_true", help="print one JSON object per method instead of a table")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if not args.json:
        print("| method | forwards | replay, in forwards | hooks, s | replay, s | ratio | effect | difference |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in compare(args):
        cells = (f"{value:.2g}" if name.startswith("largest") else str(value) for name, value in row.items())
        print(json.dumps(row) if args.json else f"| {' | '.join(cells)} |", flush=True)
        if row["largest_difference"] >= TOLERANCE:
            raise SystemExit(f"{row['method']}: the numbers differ by {row['largest_difference']:.1g}")


if __name__ == "__main__":
    main()
