"""Time the knockout sweep by replay and by the plain method, in one run, on randomly initialised LLaVAs.

    python benchmarks/knockout.py                       # 2 cores: 16 layers, width 512
    python benchmarks/knockout.py --preset llava-1.5-7b llava-1.5-13b any-resolution-13b --device cuda \\
        --dtype float16 --plain-share 0.05 --peak 989

The plain method runs one full forward per edge and layer; `--plain-share 0.1` runs a tenth of them and multiplies the
time by ten.  `--peak` is the card's peak in 10^12 operations per second at this dtype (dense; 989 for an H100 SXM), of
which the share that the replay reaches is printed.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from random_models import PRESETS, build, build_prompt, grid_of
from torch.utils.flop_counter import FlopCounterMode

from vlmflow.edges import FLOW_EDGES, EdgeGroup
from vlmflow.engine.plain import plain
from vlmflow.probes.knockout.measure import edge_knockouts

WINDOW = 9


def timed(device: str, work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def median(device: str, work: Callable[[], torch.Tensor], repeats: int) -> tuple[float, torch.Tensor]:
    runs = sorted((timed(device, work) for _ in range(repeats)), key=lambda run: run[0])
    return runs[len(runs) // 2]


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of all matrix products and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def measure(preset: str, args: argparse.Namespace) -> dict[str, object]:
    """The measurements of one preset."""
    dtype, grid = getattr(torch, args.dtype), grid_of(preset)
    vlm = build(preset, args.device, dtype, grid)
    prompt = build_prompt(vlm, dtype, grid)
    layers = len(vlm.layers)
    knockouts = [k for edge in FLOW_EDGES for _, k in edge_knockouts(EdgeGroup.parse(edge), prompt, WINDOW, layers)]
    recorded = vlm.record(prompt)
    base = vlm.logits(recorded.output[0, -1]).softmax(-1)
    token = base.argmax()

    def changes(states: torch.Tensor) -> torch.Tensor:
        """Percent of the intact model's probability."""
        return 100 * (vlm.logits(states[:, 0]).softmax(-1)[:, token] / base[token] - 1)

    def sweep() -> torch.Tensor:
        return changes(vlm.replay(vlm.record(prompt), knockouts))

    def replay() -> torch.Tensor:
        return changes(vlm.replay(recorded, knockouts))

    def by_forwards() -> torch.Tensor:
        return changes(plain(vlm.model, vlm.layers, prompt.inputs, chosen))

    step = max(1, round(1 / args.plain_share))
    chosen = knockouts[::step]
    sweep()  # the first call also includes the start of the libraries
    if args.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    sweep_seconds, replayed = median(args.device, sweep, args.repeats)
    peak_memory = torch.cuda.max_memory_allocated() / 1e9 if args.device != "cpu" else None
    replay_seconds, _ = median(args.device, replay, args.repeats)
    record_seconds, _ = timed(args.device, lambda: vlm.record(prompt).output)
    speed = operations(replay) / replay_seconds
    plain_seconds, expected = timed(args.device, by_forwards)
    plain_seconds *= len(knockouts) / len(chosen)
    return {
        "preset": preset,
        "device": torch.cuda.get_device_name() if args.device != "cpu" else "cpu",
        "dtype": args.dtype,
        "threads": args.threads,
        "positions": len(prompt),
        "knockouts": len(knockouts),
        "plain_share": round(1 / step, 3),
        "plain_s": round(plain_seconds, 3),
        "record_s": round(record_seconds, 3),
        "seconds_per_question": round(sweep_seconds, 3),
        "times_faster": round(plain_seconds / sweep_seconds, 1),
        "forwards_worth": round(sweep_seconds / record_seconds, 2),
        "replay_operations_per_s": f"{speed:.3g}",
        "replay_share_of_peak": None if args.peak is None else round(speed / (args.peak * 1e12), 3),
        "peak_memory_gb": None if peak_memory is None else round(peak_memory, 1),
        "largest_difference_percentage_points": (replayed[::step] - expected).abs().max().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, nargs="+", default=["small"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts")
    parser.add_argument("--plain-share", type=float, default=1.0)
    parser.add_argument("--peak", type=float, help="of the device, in 10^12 operations per second")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for preset in args.preset:
        print(json.dumps(measure(preset, args), indent=1), flush=True)
        if args.device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
