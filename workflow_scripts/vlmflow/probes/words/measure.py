"""The words that the question's positions predict, with modules or edges knocked out; [flow] appendices D and K."""

from collections.abc import Sequence

import polars as pl
from torch import Tensor

from vlmflow.edges import EdgeGroup, module_layers
from vlmflow.engine.interventions import Intervention, ZeroAblation
from vlmflow.engine.modules import Module
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.knockout.measure import edge_knockouts
from vlmflow.probes.question import Question
from vlmflow.probes.words import WordsProbe
from vlmflow.prompts.build import Prompt
from vlmflow.settings import window_size


def measure(probe: WordsProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `words` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    edges = context.applicable_edges(question, prompt, probe.edge_groups, required=not probe.modules)
    return words(
        context.vlm,
        prompt,
        modules=probe.modules,
        edges=edges,
        window=window_size(probe.window, len(context.vlm.layers)),
        top=probe.top,
        pooled=probe.pooled,
    )


def words(
    vlm: LanguageModel,
    prompt: Prompt,
    *,
    modules: Sequence[Module] = (),
    edges: Sequence[str] = (),
    window: int = 9,
    top: int = 10,
    pooled: bool = False,
) -> pl.DataFrame:
    """Jaccard similarity of the words that the question's positions predict at the last layer to the intact model's.

    Each position predicts the `top` tokens that the unembedding gives the highest logits; [flow] equation 9.

    Args:
        vlm: the model.
        prompt: of this model.
        modules: attention or mlp; their output is zero at the question's positions in `window` layers from each on.
        edges: knocked out in `window` layers around each layer.
        window: number of layers.
        top: words per position.
        pooled: whether one set of words for the whole question is compared; by default there is a set per position.

    Returns:
        columns intervention (a module or an edge), window, layer, similarity (from 0 to 1).
    """
    recording = vlm.record(prompt)
    positions, layers = prompt.positions("question"), len(vlm.layers)
    done: list[tuple[str, int, Intervention]] = []
    for module in modules:
        spans = [module_layers(layer, window, layers) for layer in range(layers)]
        knockouts = [ZeroAblation(module, positions, span.start, span.stop) for span in spans]
        done += [(module, layer, each) for layer, each in enumerate(knockouts)]
    for edge in map(EdgeGroup.parse, edges):
        knocked_out = edge_knockouts(edge, prompt, window, layers, recording.recurrent)
        done += [(str(edge), layer, each) for layer, each in knocked_out]
    states = vlm.replay(recording, [intervention for *_, intervention in done], positions)
    intact = _top_words(vlm, recording.output[0, positions.to(recording.output.device)], top)
    predicted = _top_words(vlm, states.flatten(0, 1), top).unflatten(0, states.shape[:2])
    similarity = _jaccard_pooled if pooled else _jaccard
    return pl.DataFrame(
        {
            "intervention": [name for name, *_ in done],
            "window": window,
            "layer": [layer for _, layer, _ in done],
            "similarity": [similarity(intact, after) for after in predicted],
        },
        schema_overrides={"window": pl.Int32, "layer": pl.Int32},
    )


def _top_words(vlm: LanguageModel, states: Tensor, top: int) -> Tensor:
    """(states, width) → (states, top) token ids, on the CPU."""
    return vlm.read(states, lambda logits: logits.topk(top).indices)


def _jaccard(intact: Tensor, after: Tensor) -> float:
    """The similarity of two sets of (position, word); both (positions, top)."""
    common = int((intact[:, :, None] == after[:, None, :]).sum())
    return common / (intact.numel() + after.numel() - common)


def _jaccard_pooled(intact: Tensor, after: Tensor) -> float:
    """The similarity of two sets of words, regardless of their positions."""
    one, other = set(intact.flatten().tolist()), set(after.flatten().tolist())
    return len(one & other) / len(one | other)
