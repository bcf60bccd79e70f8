"""Time the knockout sweep by replay and by the plain method, in one run, on a randomly initialised LLaVA.

    python benchmarks/knockout.py                       # 2 cores: 16 layers, width 512
    python benchmarks/knockout.py --preset llava-1.5-7b --device cuda --dtype float16

The plain method runs one full forward per edge and layer; `--plain-share 0.1` runs a tenth of them and scales up.
"""

import argparse
import json
import time

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmflow.edges import FLOW_EDGES, Edge
from vlmflow.models import VisionLanguageModel
from vlmflow.plain import plain
from vlmflow.probes.knockout import edge_knockouts
from vlmflow.prompts import Prompt

PRESETS = {
    "small": {"layers": 16, "width": 512, "heads": 8, "inner": 1376},
    "llava-1.5-7b": {"layers": 32, "width": 4096, "heads": 32, "inner": 11008},
    "llava-1.5-13b": {"layers": 40, "width": 5120, "heads": 40, "inner": 13824},
}
GRID, PATCH, QUESTION, TEMPLATE, WINDOW = 24, 14, 12, 20, 9
IMAGE_TOKEN, WORDS = 0, 1000


class NoProcessor:
    """The benchmark builds its prompt from positions; there is no text to cut."""


def build(preset: str, device: str, dtype: torch.dtype) -> VisionLanguageModel:
    shape = PRESETS[preset]
    text = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=shape["width"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        intermediate_size=shape["inner"],
    )
    # A vision tower of one thin layer: the plain method's repeated look at the picture is not what is compared.
    vision = CLIPVisionConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=4, image_size=GRID * PATCH, patch_size=PATCH
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE_TOKEN, vision_feature_layer=-1)
    torch.manual_seed(0)
    with torch.device(device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        model = LlavaForConditionalGeneration(config)
        torch.set_default_dtype(previous)
    return VisionLanguageModel(model, NoProcessor())


def build_prompt(vlm: VisionLanguageModel, dtype: torch.dtype) -> Prompt:
    generator = torch.Generator().manual_seed(0)
    image = torch.full((GRID * GRID,), IMAGE_TOKEN)
    words = torch.randint(1, WORDS, (5 + QUESTION + TEMPLATE,), generator=generator)
    ids = torch.cat([words[:5], image, words[5:]])[None].to(vlm.device)
    pixels = torch.randn(1, 3, GRID * PATCH, GRID * PATCH, generator=generator).to(vlm.device, dtype)
    patches = torch.arange(5, 5 + GRID * GRID)
    question = torch.arange(QUESTION) + patches[-1] + 1
    segments = {
        "image": patches,
        "related patches": patches[100:140],
        "other patches": torch.cat([patches[:100], patches[140:]]),
        "question": question,
        "last": torch.tensor([ids.shape[1] - 1]),
    }
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return Prompt(inputs, "", segments)


def timed(device: str, work) -> tuple[float, torch.Tensor]:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="sweeps by replay; the median counts")
    parser.add_argument("--plain-share", type=float, default=1.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    vlm = build(args.preset, args.device, dtype)
    prompt = build_prompt(vlm, dtype)
    layers = len(vlm.layers)
    knockouts = [k for edge in FLOW_EDGES for k in edge_knockouts(Edge.parse(edge), prompt, WINDOW, layers)]
    token = vlm.logits(vlm.record(prompt).output[0, -1]).argmax()

    def fast() -> torch.Tensor:
        return vlm.logits(vlm.replay(vlm.record(prompt), knockouts)).softmax(-1)[:, token]

    def by_forwards() -> torch.Tensor:
        return vlm.logits(plain(vlm.model, vlm.layers, prompt.inputs, chosen)[:, 0]).softmax(-1)[:, token]

    step = max(1, round(1 / args.plain_share))
    chosen = knockouts[::step]
    fast()  # the first call also pays for the libraries' start
    runs = sorted((timed(args.device, fast) for _ in range(args.repeats)), key=lambda run: run[0])
    fast_seconds, replayed = runs[len(runs) // 2]
    forward_seconds, _ = timed(args.device, lambda: vlm.record(prompt))
    plain_seconds, expected = timed(args.device, by_forwards)
    plain_seconds *= len(knockouts) / len(chosen)
    error = ((replayed[::step] - expected) / expected).abs().max().item()
    result = {
        "preset": args.preset,
        "device": args.device,
        "dtype": args.dtype,
        "threads": args.threads,
        "positions": len(prompt),
        "knockouts": len(knockouts),
        "plain_share": round(1 / step, 3),
        "plain_s": round(plain_seconds, 3),
        "record_s": round(forward_seconds, 3),
        "replay_s": round(fast_seconds, 3),
        "times_faster": round(plain_seconds / fast_seconds, 1),
        "forwards_worth": round(fast_seconds / forward_seconds, 2),
        "max_relative_error": error,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
