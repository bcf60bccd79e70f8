"""The computation of a study's probes at the depth and prompt length of a real model, in forwards of the prompt.

    python benchmarks/token_layers.py studies/flow-appendix.yaml

A model of 40 thin layers with random weights reads a prompt of 576 image, 12 question and 20 template tokens; hooks
count positions × layers over all rows. Only probes that block edges or modules, or measure edges, are counted, and of
these only those that apply to an answer of one sub-word.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from random_models import PRESETS, build, build_prompt

from vlmflow.errors import QuestionError
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt
from vlmflow.study import read_study

QUESTION = Question(
    id="1",
    image_id="1",
    image="",
    image_size=(None, None),
    text="",
    answer="",
    correct_answer="",
    options=None,
    objects=(),
    captions=None,
    patches=None,
    sinks=None,
    token_ids=[1],
    in_detail=False,
)


@dataclass(frozen=True, kw_only=True)
class FixedPrompt(ProbeContext):
    """A context in which every question has the same prompt."""

    fixed: Prompt

    def prompt(self, question):  # noqa: ARG002
        return self.fixed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--preset", choices=PRESETS, default="thin")
    parser.add_argument("--image-tokens", type=int, default=576, help="a square number")
    args = parser.parse_args()
    torch.set_num_threads(2)
    grid = round(args.image_tokens**0.5)
    vlm = build(args.preset, "cpu", torch.float32, grid)
    prompt = build_prompt(vlm, torch.float32, grid)
    forward = len(prompt) * len(vlm.layers)
    study = read_study(yaml.safe_load(Path(args.study).read_text()), args.study)
    sizes: list[int] = []
    for layer in vlm.layers:
        layer.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[0] * inputs[0].shape[1]))
    context = FixedPrompt(vlm, fixed=prompt)
    for name, probe in study.probes.items():
        if not probe.parsed_edges and probe.kind != "words":
            continue
        edges = [
            str(edge)
            for edge in probe.parsed_edges
            if all(len(prompt.segments.get(name, ())) for name in (edge.source, edge.target))
        ]
        if probe.parsed_edges and not edges:
            continue
        counted = probe.model_copy(update={"edges": edges}) if edges else probe
        sizes.clear()
        try:
            rows = counted.measure(context, QUESTION)
        except QuestionError as error:
            print(f"{name}: {error}")
            continue
        result = {
            "probe": name,
            "rows": len(rows),
            "token_layers": sum(sizes),
            "forwards": round(sum(sizes) / forward, 1),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
