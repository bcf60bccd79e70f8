"""Direct logit attribution: the logit of the answer as a sum over the parts of the model."""

import polars as pl
import torch
from torch import Tensor

from vlmflow.engine.modules import attention_layer, head_count, key_head_count
from vlmflow.engine.residual_parts import ResidualParts, frozen_norm, residual_parts
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.effects import first_sub_word, options_measured
from vlmflow.probes.logit_attribution import LogitAttributionProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt


def measure(probe: LogitAttributionProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `logit_attribution` for one question; see `Probe.measure`."""
    followed = first_sub_word(context.prompt(question), question.token_ids, options_measured(context, question))
    return logit_attribution(context.vlm, followed.prompt, followed.token_ids[0], followed.options)


@torch.inference_mode()
def logit_attribution(
    vlm: LanguageModel, prompt: Prompt, token: int, options: tuple[int, int] | None = None
) -> pl.DataFrame:
    """What each part adds directly to the logit of a token at the last position, and to the margin of two options.

    Args:
        vlm: the model.
        prompt: of this model.
        token: whose logit, less the mean over the vocabulary, is taken apart.
        options: the true and the false option's first sub-words.

    Raises:
        InterventionError: the model's layers are no sums of their parts.
    """
    parts = residual_parts(vlm.model, vlm.layers, prompt.inputs, -1)
    layer = attention_layer(vlm.layers)
    sharing = head_count(layer) // key_head_count(layer)
    named = _named(parts, sharing)
    weight = vlm.unembedding.weight
    states = torch.stack([state for _, state in named]).to(weight.device)
    normed = frozen_norm(vlm.norm, parts.output.to(weight))(states)
    rows = pl.DataFrame(
        [row for row, _ in named],
        schema={"part": pl.String, "layer": pl.Int32, "head": pl.Int32, "key_head": pl.Int32},
        orient="row",
    )
    directions = _directions(vlm, token, options).to(normed)
    logit, margin = (normed @ directions.T).T.double().cpu()
    return rows.with_columns(
        logit=pl.Series(logit.tolist()),
        margin=pl.Series(margin.tolist() if options else [None] * len(rows), dtype=pl.Float64),
    )


def _named(parts: ResidualParts, sharing: int) -> list[tuple[tuple[str, int, int, int], Tensor]]:
    """The columns of each part, and what it adds."""
    named = [(("embedding", -1, -1, -1), parts.embedding)]
    for number in range(len(parts.attention)):
        named.append((("attention", number, -1, -1), parts.attention[number]))
        named.append((("mlp", number, -1, -1), parts.mlp[number]))
        named += [(("head", number, head, head // sharing), added) for head, added in enumerate(parts.heads[number])]
    return named


def _directions(vlm: LanguageModel, token: int, options: tuple[int, int] | None) -> Tensor:
    """(2, width): the directions of the normed state along which the logit and the margin grow."""
    weight = vlm.unembedding.weight
    wide = torch.promote_types(weight.dtype, torch.float32)
    true, false = options or (token, token)
    return torch.stack([weight[token].to(wide) - vlm.mean_unembedding, weight[true].to(wide) - weight[false].to(wide)])
