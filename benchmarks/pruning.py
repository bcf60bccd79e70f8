"""Time answers with and without the image's tokens in the last layers, in one run; arXiv 2411.18620, figure 14.

    python benchmarks/pruning.py                                # 2 cores: 16 layers, width 512
    python benchmarks/pruning.py --preset llava-1.5-13b --device cuda --dtype float16

Models have random weights and 576 image tokens; `--image-tokens 2304` is about the number that LLaVA-1.6 has per image.
"""

import argparse
import json
from functools import partial

import torch
from random_models import PRESETS, build, build_prompt
from transformers import DynamicCache

from vlmflow.engine.timing import timed
from vlmflow.engine.token_removal import truncated, work_share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-tokens", type=int, default=576, help="a square number")
    parser.add_argument("--new-tokens", type=int, default=3, help="length of the answers")
    parser.add_argument("--repeats", type=int, default=5, help="number of repetitions; the fastest counts")
    parser.add_argument("--steps", type=int, default=8, help="number of different numbers of layers")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    grid = round(args.image_tokens**0.5)
    vlm = build(args.preset, args.device, dtype, grid)
    prompt = build_prompt(vlm, dtype, grid)
    image, layers = prompt.positions("image"), len(vlm.layers)
    numbers = sorted({round(step * layers / args.steps) for step in range(args.steps)})

    def run(last: int) -> None:
        with truncated(vlm.layers, image, last):
            vlm.generate(prompt, args.new_tokens, ends=[], cache=DynamicCache())

    run(0)
    seconds = timed([partial(run, last) for last in numbers], args.repeats, vlm.device)
    result = {
        "preset": args.preset,
        "device": args.device,
        "dtype": args.dtype,
        "threads": args.threads,
        "positions": len(prompt),
        "image_tokens": len(image),
        "new_tokens": args.new_tokens,
        "rows": [
            {
                "last": last,
                "work": round(work_share(len(prompt), len(image), layers, last), 3),
                "seconds": round(each, 4),
                "time": round(each / seconds[0], 3),
            }
            for last, each in zip(numbers, seconds, strict=True)
        ],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
