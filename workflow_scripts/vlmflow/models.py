"""Load a vision-language model, find its parts, and ask it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel

from . import replay
from .attention import can_share
from .geometry import Box
from .processors import ProcessorError, load_processor
from .prompts import Patches, Prompt, build_prompt, turn_end

if TYPE_CHECKING:
    import polars as pl

DTYPES = ("float32", "float16", "bfloat16", "float64")


class ModelError(ValueError):
    """A model that cannot be loaded, or that is not built as the engine needs; the message says what is missing."""


@dataclass(frozen=True)
class Answer:
    """What the model says by greedy decoding.

    Attributes:
        text: decoded, stripped.
        token_ids: without the end-of-sequence token.
        probability: of the first token, from the logits in float32.
    """

    text: str
    token_ids: list[int]
    probability: float


class VisionLanguageModel:
    """A decoder-only vision-language model of `transformers`, unmodified, with its processor."""

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        self.model = model.eval()
        self.processor = processor
        self.layers = find_layers(model)
        self.norm = find_norm(model)
        self.unembedding = model.get_output_embeddings()
        if self.unembedding is None:
            raise ModelError(
                f"{type(model).__name__} has no output embeddings, so no answer can be read from its states"
            )

    @cached_property
    def image_token_id(self) -> int:
        """The token that stands for a piece of the picture."""
        for name in ("image_token_id", "image_token_index"):
            if (token := getattr(self.model.config, name, None)) is not None:
                return int(token)
        raise ModelError(f"the configuration of {type(self.model).__name__} names no image token")

    @property
    def device(self) -> torch.device:
        """Where the model's first weights lie, and its inputs belong."""
        # Weights that did not fit anywhere are on no device until their layer is called.
        placed = (parameter.device for parameter in self.model.parameters() if parameter.device.type != "meta")
        return next(placed, torch.device("cpu"))

    def prompt(
        self,
        image: Image.Image,
        question: str,
        objects: Mapping[str, Sequence[Box]] | None = None,
        options: tuple[str, str] | None = None,
        *,
        patches: Patches | None = None,
        instruction: str = "",
    ) -> Prompt:
        """Model inputs for a picture and a question, with the positions of every segment; see `build_prompt`."""
        prompt = build_prompt(
            self.processor,
            image,
            question,
            image_token_id=self.image_token_id,
            objects=objects,
            options=options,
            patches=patches,
            instruction=instruction,
        )
        for name, value in prompt.inputs.items():
            floating = {"dtype": self.model.dtype} if value.is_floating_point() else {}
            prompt.inputs[name] = value.to(self.device, **floating)
        return prompt

    @torch.inference_mode()
    def answer(self, prompt: Prompt, max_new_tokens: int = 16) -> Answer:
        """The model's greedy answer, whatever sampling its own generation settings ask for."""
        own = self.model.generation_config
        ends = self._ends()
        greedy = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=ends or None,
            pad_token_id=own.pad_token_id if own.pad_token_id is not None else self.processor.tokenizer.pad_token_id,
            bos_token_id=own.bos_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        # `generate` fills what a configuration leaves open from the model's own, so that one steps aside.
        self.model.generation_config = greedy
        try:
            said = self.model.generate(**prompt.inputs)
        finally:
            self.model.generation_config = own
        tokens = said.sequences[0, len(prompt) :].tolist()
        probability = said.logits[0][0].float().softmax(0)[tokens[0]].item()
        kept = [token for token in tokens if token not in ends]
        return Answer(self.processor.tokenizer.decode(kept, skip_special_tokens=True).strip(), kept, probability)

    def _ends(self) -> list[int]:
        """The tokens that end an answer: the model's own, and the one with which the conversation template ends a turn.

        Some models name the end of a text only, and would go on into a turn of the user's.
        """
        own = self.model.generation_config.eos_token_id
        ends = [*(own if isinstance(own, list) else [own]), self.turn_end]
        return [token for token in dict.fromkeys(ends) if token is not None]

    @cached_property
    def turn_end(self) -> int | None:
        """The special token that ends a turn in the model's conversation template, if there is one."""
        return turn_end(self.processor)

    def record(self, prompt: Prompt) -> replay.Recording:
        """One ordinary forward, kept for replaying; see `vlmflow.replay`.

        Raises:
            ModelError: the model's own logits are not `unembedding(norm(state))`, as every probe takes them to be.
        """
        recording, logits = replay.record(self.model, self.layers, prompt.inputs)
        ours = self.logits(recording.output[:, -1])
        if not torch.allclose(ours, logits.to(ours), rtol=2e-2, atol=2e-2 * float(logits.abs().max())):
            raise ModelError(
                f"{type(self.model).__name__} makes its logits in another way than unembedding(norm(last state)), "
                "for instance with a cap or a scale that is not known here"
            )
        return recording

    def replay(self, recording: replay.Recording, knockouts: Sequence[replay.Knockout]) -> Tensor:
        """The last position's state after the last layer under each knockout, (knockouts, width), not normed."""
        share = can_share(self.model.get_decoder())
        return replay.replay(self.layers, recording, knockouts, share_prefix=share)

    @torch.inference_mode()
    def logits(self, states: Tensor, final_norm: bool = True) -> Tensor:
        """(…, width) states after any layer, not normed → (…, vocabulary) logits in float32 or wider."""
        read = self.norm(states) if final_norm else states
        logits = self.unembedding(read)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits

    def knockout(self, prompt: Prompt, edges: Sequence[str], window: int) -> "pl.DataFrame":
        """How the answer's probability changes with each edge knocked out in a window around each layer.

        Returns:
            columns edge, window, layer, p_base, p_knockout, change (in percent of p_base); [flow] section 3.2.
        """
        from .probes.knockout import knockout

        return knockout(self, prompt, edges, window)

    def lens(self, prompt: Prompt, words: Mapping[str, str], final_norm: bool = True) -> "pl.DataFrame":
        """The probability of each word's first token at the last position after every layer.

        Args:
            words: name → word, for instance {"lowercase answer": "red"}.
            final_norm: norm inner states as the last one is; [flow] equation 8 and its code do not.

        Returns:
            columns layer (−1 for the embedding), word (its name), probability.
        """
        from .probes.lens import lens

        return lens(self, prompt, words, final_norm)


def load_model(
    path: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str = "own",
    fit: str = "own",
) -> VisionLanguageModel:
    """Load a vision-language model from a folder or from the hub; safetensors only, no code from outside is run.

    Args:
        path: a folder as `save_pretrained` writes it, or a hub id.
        device: such as "cpu" or "cuda:0"; a GPU is taken where there is one. "auto" spreads the layers over all GPUs
            that this process sees.
        dtype: one of float32, float16, bfloat16, float64; by default the weights' own on a GPU, float32 on a CPU.
        revision: branch, tag or commit of a hub id.
        template, fit: see `load_processor`.

    Raises:
        ModelError: there is no such model, its weights are not safetensors, or it is of another kind.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ModelError(f"{path}: no dtype {dtype!r}; known are {', '.join(DTYPES)}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("float32" if device.startswith("cpu") else "auto")
    try:
        processor = load_processor(path, revision=revision, template=template, fit=fit)
        model = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=dtype,
            revision=revision,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            device_map="auto" if device == "auto" else {"": device},
        )
    except ProcessorError as error:
        raise ModelError(str(error)) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no vision-language model with safetensors weights could be loaded: {error}"
        ) from error
    return VisionLanguageModel(model, processor)


def find_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers: the one list in the decoder that is as long as its configuration says."""
    decoder = model.get_decoder()
    count = model.config.get_text_config().num_hidden_layers
    lists = [module for module in decoder.children() if isinstance(module, nn.ModuleList) and len(module) == count]
    if len(lists) != 1:
        raise ModelError(f"{type(decoder).__name__} has {len(lists)} lists of {count} layers; expected exactly one")
    return lists[0]


def find_norm(model: PreTrainedModel) -> nn.Module:
    """The decoder's final norm: its only direct child that is a norm."""
    decoder = model.get_decoder()
    norms = [module for name, module in decoder.named_children() if "norm" in name.lower() or name == "ln_f"]
    if len(norms) != 1:
        raise ModelError(f"{type(decoder).__name__} has {len(norms)} final norms; expected exactly one")
    return norms[0]
