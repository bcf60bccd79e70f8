"""How much a study's probes compute at the depth and prompt length of a real model, counted in forwards of the prompt.

    python benchmarks/token_layers.py studies/flow-appendix.yaml

A model of 40 thin layers with random weights reads a prompt of 576 image, 12 question and 20 template tokens; hooks
count positions × layers over all rows. What a probe does not ask of the decoder (norms), or only of a model that reads
captions, is left out.
"""

import argparse
import json
from pathlib import Path

import torch
import yaml
from random_models import PRESETS, build, build_prompt

from vlmflow.errors import PromptError
from vlmflow.probes import NormsProbe, PruningProbe
from vlmflow.probes.measure import measure
from vlmflow.study import read_study


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
    for name, probe in study.probes.items():
        if probe.kind == "lens" or isinstance(probe, NormsProbe | PruningProbe) or probe.needs == "captions":
            continue
        edges = {"edges": [str(edge) for edge in probe.edges_asked if "sinks" not in str(edge)]}
        counted = probe.model_copy(update=edges) if probe.edges_asked else probe
        if probe.edges_asked and not edges["edges"]:
            continue
        sizes.clear()
        try:
            rows = measure(vlm, prompt, counted, {"token_ids": [1]})
        except PromptError as error:
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
