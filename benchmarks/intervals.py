"""How often the 95 % interval of a mean over few images misses the truth, on each side; 2.5 % is meant.

    python benchmarks/intervals.py [draws]

The values of the images are normally distributed, or skewed (exponentially).  docs/claims.md has the result.
"""

import sys

import numpy as np

from vlmflow.analysis.bootstrap import Resampled, quantile_ends

IMAGES = (10, 15, 24, 50, 100, 200)
SHAPES = {"normal": lambda rng, size: rng.normal(size=size), "skewed": lambda rng, size: rng.exponential(size=size) - 1}


def missed(shape: str, images: int, draws: int) -> np.ndarray:
    """(2) the share of the draws in which the interval lies above the truth, and below it."""
    values = SHAPES[shape](np.random.default_rng(0), (images, draws))
    names = [f"image {number}" for number in range(images)]
    low, high = quantile_ends(Resampled.of(values, np.ones(images), names).whole)
    return np.array([(low > 0).mean(), (high < 0).mean()])


def main() -> None:
    """Print a line per number of images."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print("percent of the draws in which the interval lies above, or below, the truth")
    print("images" + "".join(f"{shape:>16}" for shape in SHAPES))
    for images in IMAGES:
        shares = (100 * missed(shape, images, draws) for shape in SHAPES)
        print(f"{images:6}" + "".join(f"{above:10.1f}{below:6.1f}" for above, below in shares))


if __name__ == "__main__":
    main()
