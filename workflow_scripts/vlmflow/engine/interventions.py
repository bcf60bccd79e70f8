"""What is done to a forward: edges blocked, or a module's output taken away, at some positions in some layers."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from vlmflow.errors import InterventionError

Module = Literal["attention", "mlp"]
# What the parts of a decoder layer are called in the names of their classes.
CLASS_WORDS: dict[Module, tuple[str, ...]] = {
    "attention": ("attention", "attn"),
    "mlp": ("mlp", "feedforward", "moe", "experts"),
}


@dataclass(frozen=True)
class Knockout:
    """No position of `targets` attends to a position of `sources` in the layers `start` … `stop` − 1."""

    sources: Tensor
    targets: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The positions whose states it changes itself."""
        return self.targets


@dataclass(frozen=True)
class ModuleKnockout:
    """The output of `module` is zero at `positions` in the layers `start` … `stop` − 1; [flow] appendix D."""

    module: Module
    positions: Tensor
    start: int
    stop: int

    @property
    def changes(self) -> Tensor:
        """The positions whose states it changes itself."""
        return self.positions


Intervention = Knockout | ModuleKnockout


def check_layers(intervention: Intervention, layers: int) -> None:
    """Whether there are such positions and layers.

    Raises:
        InterventionError: there are not.
    """
    if len(intervention.changes) == 0 or (isinstance(intervention, Knockout) and len(intervention.sources) == 0):
        raise InterventionError("an intervention needs at least one source and one target position")
    if not 0 <= intervention.start < intervention.stop <= layers:
        raise InterventionError(
            f"layers {intervention.start} to {intervention.stop - 1}: the model has 0 to {layers - 1}"
        )


def find_module(layer: nn.Module, module: Module) -> nn.Module:
    """The part of a decoder layer that is its attention, or its MLP.

    Raises:
        InterventionError: the layer has none, or several, of that kind.
    """
    found = [child for child in layer.children() if _kind(child) == module]
    if len(found) != 1:
        raise InterventionError(
            f"{type(layer).__name__} has {len(found)} parts that look like its {module}; expected one"
        )
    return found[0]


def _kind(part: nn.Module) -> Module | None:
    """What a part of a decoder layer is, by the name of its class: attention first, since a mixture of experts may
    have its name in that of its attention too."""
    name = type(part).__name__.lower()
    if "norm" in name:
        return None
    return next((module for module, words in CLASS_WORDS.items() if any(word in name for word in words)), None)


@contextmanager
def removed_after(handles: Iterable[Any]) -> Iterator[None]:
    """Remove hooks at the end of the block."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


@contextmanager
def muting(layer: nn.Module, muted: dict[Module, Tensor]) -> Iterator[None]:
    """Zero the outputs of the layer's modules where `muted`, module → (rows, positions), is True."""

    def zeroing(where: Tensor) -> Any:
        def after(_module: nn.Module, _arguments: tuple, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            states = states.masked_fill(where[..., None].to(states.device), 0)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return after

    with removed_after(
        find_module(layer, module).register_forward_hook(zeroing(where)) for module, where in muted.items()
    ):
        yield
