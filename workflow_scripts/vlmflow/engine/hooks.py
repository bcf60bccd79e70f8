"""Hooks of modules, which are always removed again, also after an error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from .interventions import Site
from .modules import find_module

StateChange = Callable[[Tensor], Tensor]


@contextmanager
def removed_after(handles: Iterable[Any]) -> Iterator[None]:
    """Remove hooks at the end of the block."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def hook_site(layer: nn.Module, site: Site, change: StateChange) -> Any:
    """The handle of a hook that passes the states (rows, S, width) at a site of the layer through `change`.

    Raises:
        InterventionError: the layer has no such site.
    """
    if site == "input":
        return layer.register_forward_pre_hook(partial(_change_input, change))
    return find_module(layer, site).register_forward_hook(partial(_change_output, change))


def _change_input(change: StateChange, _layer: nn.Module, arguments: tuple) -> tuple:
    return (change(arguments[0]), *arguments[1:])


def _change_output(change: StateChange, _module: nn.Module, _arguments: tuple, output: Any) -> Any:
    return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)
