"""The library in a notebook: models with one method for each probe that needs no study file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from vlmflow.engine.modules import Module
from vlmflow.models import load, vision_language
from vlmflow.probes.effects import given_answer
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.lens.measure import lens
from vlmflow.probes.words.measure import words
from vlmflow.prompts.build import Prompt


class LanguageModel(vision_language.LanguageModel):
    """A decoder-only language model that reads captions, with its tokenizer and the probes."""

    def knockout(
        self, prompt: Prompt, edges: Sequence[str], window: int | Sequence[int], answer: str | None = None
    ) -> pl.DataFrame:
        """The effect on the model's answer of each edge knocked out, in a window around each layer.

        Args:
            prompt: of this model.
            edges: each as "source -> target", two segments of the prompt.
            window: number of layers, odd; or several such numbers.
            answer: any answer; its sub-words are measured together, by their joint probability.  By default the first
                token that the model generates is measured.

        Returns:
            columns edge, window, layer (from 0), p_base and p_knockout (of the answer, from 0 to 1), change (in percent
            of p_base; [flow] section 3.2); margin and log_prob (changes in nats), flips (0 or 100), token (the most
            probable one); log-probabilities and ranks of the answer and both options, see
            `vlmflow.probes.measures.effect_columns`.

        Raises:
            ValueError: an edge has another form or an unknown segment, or a window is not odd and at least 1.
            PromptError: the prompt does not have a segment of an edge.
            InterventionError: an edge cannot be knocked out, since its target does not attend to its source; or the
                answer is empty.
        """
        followed = None if answer is None else given_answer(self, prompt, answer)
        return knockout(self, prompt, edges, window, followed)

    def words(
        self,
        prompt: Prompt,
        modules: Sequence[Module] = (),
        edges: Sequence[str] = (),
        window: int = 9,
        top: int = 10,
        pooled: bool = False,
    ) -> pl.DataFrame:
        """The similarity of the words that the question's positions predict, with modules ablated or edges knocked out,
        to those of the intact model.

        Args:
            prompt: of this model.
            modules: "attention" or "mlp"; their output is zero at the question's positions, in `window` layers from
                each layer on.
            edges: each as "source -> target", knocked out in `window` layers around each layer.
            window: number of layers, odd where there are edges.
            top: number of words per position.
            pooled: compare one set of words for the whole question; by default a word counts at its position.

        Returns:
            columns intervention (a module or an edge), window, layer (from 0), similarity (Jaccard, from 0 to 1);
            [flow] equation 9.

        Raises:
            ValueError: an edge has another form or an unknown segment, or a window is not odd and at least 1.
            PromptError: the prompt does not have a segment of an edge.
            InterventionError: the layers have no such module, or an edge cannot be knocked out.
        """
        return words(self, prompt, modules=modules, edges=edges, window=window, top=top, pooled=pooled)

    def lens(self, prompt: Prompt, words: Mapping[str, str], final_norm: bool = True) -> pl.DataFrame:
        """The probability of each word's first token at the last position after every layer.

        Args:
            prompt: of this model.
            words: name → word, for instance {"lowercase answer": "red"}.
            final_norm: whether inner states are normed as the last one is; [flow] equation 8 and its code do not do so.

        Returns:
            columns layer (−1 for the embedding), word (its name), probability (from 0 to 1).

        Raises:
            InterventionError: a probability is not a finite number.
        """
        return lens(self, prompt, words, final_norm)


class VisionLanguageModel(vision_language.VisionLanguageModel, LanguageModel):
    """A decoder-only vision-language model with its processor and the probes."""


def load_model(
    path: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str = "own",
    fit: str = "own",
) -> VisionLanguageModel:
    """Load a vision-language model from a folder or from the hub; safetensors only, and no code of the model's own.

    Args:
        path: a folder as `save_pretrained` writes it, or a hub id.
        device: such as "cpu" or "cuda:0"; by default a GPU, if there is one. "auto" spreads the layers over all GPUs
            that are visible to this process.
        dtype: one of float32, float16, bfloat16, float64; by default the weights' own on a GPU, float32 on a CPU.
        revision: branch, tag or commit of a hub id.
        template: the conversation around the question: "own", one of `vlmflow.models.templates.TEMPLATES`, or a .jinja
            file.
        fit: how an image that is not square is fitted into a square: "own" (as the processor does it), "pad" or "crop".

    Raises:
        ModelError: there is no such model, or it cannot be measured; the message gives the reason.
    """
    return load.load_model(
        path, device=device, dtype=dtype, revision=revision, template=template, fit=fit, model_class=VisionLanguageModel
    )


def load_language_model(
    path: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str = "own",
) -> LanguageModel:
    """Load a language model that reads captions in place of an image: a model of its own, or the language model inside
    of a vision-language model.

    Args:
        path, device, dtype, revision, template: as in `load_model`.

    Raises:
        ModelError: there is no such model, or it cannot be measured; the message gives the reason.
    """
    return load.load_language_model(
        path, device=device, dtype=dtype, revision=revision, template=template, model_class=LanguageModel
    )
