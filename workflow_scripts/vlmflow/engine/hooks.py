"""Hooks of modules, which are always removed again, also after an error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from .interventions import Site
from .modules import find_module, find_output_projection, head_count

StateChange = Callable[[Tensor], Tensor]


@contextmanager
def removed_after(handles: Iterable[Any]) -> Iterator[None]:
    """Remove hooks at the end of the block."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def hook_site(layer: nn.Module, site: Site, change: StateChange) -> Any:
    """The handle of a hook that passes the states (rows, S, width) at a site of the layer through `change`; those at
    the site `head` are (rows, S, heads, head width).

    Raises:
        InterventionError: the layer has no such site.
    """
    if site == "input":
        return layer.register_forward_pre_hook(partial(_change_input, change))
    if site == "head":
        heads = head_count(layer)
        return find_output_projection(layer).register_forward_pre_hook(partial(_change_heads, change, heads))
    return find_module(layer, site).register_forward_hook(partial(_change_output, change))


def _change_input(change: StateChange, _layer: nn.Module, arguments: tuple) -> tuple:
    return (change(arguments[0]), *arguments[1:])


def _change_heads(change: StateChange, heads: int, _projection: nn.Module, arguments: tuple) -> tuple:
    states = arguments[0]
    return (change(states.unflatten(-1, (heads, -1))).flatten(-2), *arguments[1:])


def _change_output(change: StateChange, _module: nn.Module, arguments: tuple, output: Any) -> Any:
    states = output[0] if isinstance(output, tuple) else output
    # Some mixtures of experts return the states of all rows one behind the other.
    by_row = states.unflatten(0, arguments[0].shape[:2]) if states.ndim == 2 else states
    changed = change(by_row).reshape(states.shape)
    return (changed, *output[1:]) if isinstance(output, tuple) else changed
