"""Time the knockout sweep by replay and by the plain method, in one run, on a randomly initialised LLaVA.

    python benchmarks/knockout.py                       # 2 cores: 16 layers, width 512
    python benchmarks/knockout.py --preset llava-1.5-7b --device cuda --dtype float16

The plain method runs one full forward per edge and layer; `--plain-share 0.1` runs a tenth of them and multiplies the
time by ten.
"""

import argparse
import json
import time

import torch
from random_models import PRESETS, build, build_prompt

from vlmflow.edges import FLOW_EDGES, Edge
from vlmflow.engine.plain import plain
from vlmflow.probes.knockout.measure import edge_knockouts

WINDOW = 9


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
        return vlm.logits(vlm.replay(vlm.record(prompt), knockouts)[:, 0]).softmax(-1)[:, token]

    def by_forwards() -> torch.Tensor:
        return vlm.logits(plain(vlm.model, vlm.layers, prompt.inputs, chosen)[:, 0]).softmax(-1)[:, token]

    step = max(1, round(1 / args.plain_share))
    chosen = knockouts[::step]
    fast()  # the first call also includes the start of the libraries
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
