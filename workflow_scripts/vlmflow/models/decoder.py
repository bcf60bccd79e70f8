"""The states of a model's decoder: recorded, replayed under interventions, and read through the unembedding."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from vlmflow.engine import replay, token_removal
from vlmflow.engine.attention_stats import AttentionStats, attention_stats
from vlmflow.engine.batch_size import AdaptiveBatchSize
from vlmflow.engine.float32_products import Float32Products
from vlmflow.engine.interventions import Intervention, Site
from vlmflow.engine.modules import find_decoder, find_layers, find_norm
from vlmflow.engine.prefix import choose_prefix
from vlmflow.engine.record import record
from vlmflow.engine.recording import Recording
from vlmflow.engine.site_states import SiteStates, site_states
from vlmflow.errors import InterventionError, ModelError
from vlmflow.prompts.build import Prompt

from .supported import check_layers

# Number of states that are read through the unembedding at a time.
STATES_AT_ONCE = 512


class DecoderModel:
    """A decoder-only model of `transformers`, unmodified, whose states are recorded, replayed and read.

    Attributes:
        model: of `transformers`; `model(**prompt.inputs)` is its ordinary forward.
        processor: of the model; `processor.tokenizer` is its tokenizer.
        layers: the decoder's, from 0.
        norm: the decoder's final norm.
        unembedding: the map from normed states to logits.
    """

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        """Find the model's modules.

        Raises:
            ModelError: the engine cannot use the model's structure.
        """
        self.model = model.eval()
        self.processor = processor
        self.layers = find_layers(model)
        check_layers(type(model).__name__, self.layers, find_decoder(model))
        self.norm = find_norm(model)
        self.unembedding = model.get_output_embeddings()
        self.replay_batch_size = AdaptiveBatchSize(replay.TOKENS_PER_BATCH)
        self.read_batch_size = AdaptiveBatchSize(STATES_AT_ONCE)
        if self.unembedding is None:
            raise ModelError(
                f"{type(model).__name__} has no output embeddings, so no answer can be read from its states"
            )

    def facts(self) -> dict[str, Any]:
        """What the model is, as columns of the table `model`."""
        return {
            "architecture": type(self.model).__name__,
            "layers": len(self.layers),
            "width": self.unembedding.weight.shape[1],
            "parameters": sum(each.numel() for each in self.model.parameters()),
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }

    @property
    def device(self) -> torch.device:
        """The device of the model's first weights, on which its inputs belong."""
        # Weights that do not fit on any device are loaded only when their layer is called.
        placed = (parameter.device for parameter in self.model.parameters() if parameter.device.type != "meta")
        return next(placed, torch.device("cpu"))

    @cached_property
    def mean_unembedding(self) -> Tensor:
        """(width) the mean over the vocabulary of the vectors by which logits are read, in float32 or wider."""
        weight: Tensor = self.unembedding.weight.detach()
        return weight.mean(dim=0, dtype=torch.promote_types(weight.dtype, torch.float32))

    def record(self, prompt: Prompt) -> Recording:
        """The recording of one ordinary forward; see `vlmflow.engine.record`.

        Raises:
            ModelError: the model's own logits are not `unembedding(norm(state))`, which every probe reads.
        """
        recorded, logits = record(self.model, self.layers, prompt.inputs)
        computed = self.logits(recorded.output[:, -1])
        if not torch.allclose(computed, logits.to(computed), rtol=2e-2, atol=2e-2 * float(logits.abs().max())):
            raise ModelError(
                f"{type(self.model).__name__} does not compute its logits as unembedding(norm(last state)), "
                "for instance with a cap or a scale that is not supported here"
            )
        return recorded

    def replay(
        self,
        recorded: Recording,
        interventions: Sequence[Intervention],
        positions: Tensor | None = None,
    ) -> Tensor:
        """States after the last layer under each intervention, (interventions, positions, width), not normed.

        Args:
            recorded: the result of `record`.
            interventions: see `vlmflow.engine.interventions`.
            positions: (P) where states are read, from 0; by default the last position alone.

        Raises:
            InterventionError: an intervention has no meaning on this recording.
        """
        return replay.replay(
            self.layers,
            recorded,
            interventions,
            positions=positions,
            batch_size=self.replay_batch_size,
            prefix=choose_prefix(find_decoder(self.model)),
        )

    def replay_without(self, recorded: Recording, dropped: Tensor, positions: Tensor) -> Tensor:
        """(positions, width) states after the last layer of a forward without the positions `dropped`, not normed; see
        `vlmflow.engine.token_removal`."""
        return token_removal.replay_without(self.layers, recorded, dropped, positions)

    def site_states(self, prompt: Prompt, site: Site, positions: Tensor) -> SiteStates:
        """The states at a site of each layer, at some positions of one ordinary forward; see
        `vlmflow.engine.site_states`."""
        return site_states(self.model, self.layers, prompt.inputs, site, positions)

    def attention_stats(self, prompt: Prompt, segments: Sequence[str]) -> dict[str, AttentionStats]:
        """Segment → how much it attends to each position in every layer, by attention weights and by norms.

        Args:
            prompt: of this model.
            segments: names, such as "question".

        Raises:
            PromptError: the prompt does not have a segment.
            NotApplicableError: the model's attention function cannot be exchanged.
        """
        targets = {name: prompt.positions(name) for name in segments}
        return attention_stats(self.model, self.layers, prompt.inputs, targets)

    @torch.inference_mode()
    def logits(self, states: Tensor, final_norm: bool = True, *, in_float32: bool = False) -> Tensor:
        """The logits (…, vocabulary), in float32 or wider, of states (…, width) after any layer.

        Args:
            states: after any layer, not normed.
            final_norm: whether the decoder's final norm is applied first.
            in_float32: whether the product itself is computed in float32 too, as the lens of [flow] does; the model
                computes it in its own dtype.
        """
        read = self.norm(states) if final_norm else states
        with Float32Products() if in_float32 else nullcontext():
            logits = self.unembedding(read)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits

    def read(self, states: Tensor, reader: Callable[[Tensor], Tensor], *, in_float32: bool = False) -> Tensor:
        """The result of `reader` for the logits (…, vocabulary) of states (states, width), on the CPU.

        Logits are computed for some states at a time, since those of many do not fit into memory; `in_float32` as in
        `logits`.

        Raises:
            InterventionError: a logit is not a finite number.
        """
        results: list[Tensor] = []
        while len(states):
            read_first = partial(self._read_some, states, reader, in_float32)
            results.append(self.read_batch_size.run(read_first, most=len(states)))
            states = states[len(results[-1]) :]
        return torch.cat(results)

    def _read_some(self, states: Tensor, reader: Callable[[Tensor], Tensor], in_float32: bool, number: int) -> Tensor:
        """The result of `reader` for the logits of the first `number` states."""
        logits = self.logits(states[:number], in_float32=in_float32)
        if not logits.isfinite().all():
            raise InterventionError("logits are not finite numbers; another dtype may help")
        return reader(logits).cpu()
