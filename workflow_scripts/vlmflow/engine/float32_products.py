"""Products with half-precision weights, computed in float32."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Rows of a weight that are cast at a time, since a full unembedding in float32 would take another 0.5 to 2 GB.
ROWS = 4096


class Float32Products(TorchFunctionMode):
    """In its block, every linear map with float16 or bfloat16 weights is computed in float32, and returns float32.

    Modules are called as they are, so that weights that lie on a disk until their module is called are still fetched.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's result; for a linear map, its product in float32 or wider."""
        if func is functional.linear:
            return float32_linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def float32_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(…, rows of the weight) product and bias in float32, or in the operands' own type where that is wider."""
    dtype = torch.promote_types(torch.promote_types(input.dtype, weight.dtype), torch.float32)
    if weight.dtype == dtype:
        return functional.linear(input.to(dtype), weight, bias)
    product = input.new_empty(*input.shape[:-1], len(weight), dtype=dtype)
    for start in range(0, len(weight), ROWS):
        rows = slice(start, start + ROWS)
        part_of_bias = None if bias is None else bias[rows].to(dtype)
        product[..., rows] = functional.linear(input.to(dtype), weight[rows].to(dtype), part_of_bias)
    return product
