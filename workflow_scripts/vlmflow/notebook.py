"""The library from a notebook: models that also measure, with one method per probe that needs no study file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from vlmflow.engine.modules import Module
from vlmflow.models import load, model
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.lens.measure import lens
from vlmflow.probes.words.measure import words
from vlmflow.prompts.build import Prompt


class LanguageModel(model.LanguageModel):
    """A decoder-only language model that reads captions, with its tokenizer and the probes."""

    def knockout(self, prompt: Prompt, edges: Sequence[str], window: int | Sequence[int]) -> pl.DataFrame:
        """How the answer's probability changes with each edge knocked out in a window around each layer.

        Args:
            prompt: of this model.
            edges: each as "source -> target".
            window: layers, odd; or several such numbers.

        Returns:
            columns edge, window, layer, p_base, p_knockout, change (in percent of p_base); [flow] section 3.2.
        """

        return knockout(self, prompt, edges, window)

    def words(
        self,
        prompt: Prompt,
        modules: Sequence[Module] = (),
        edges: Sequence[str] = (),
        window: int = 9,
        top: int = 10,
        pooled: bool = False,
    ) -> pl.DataFrame:
        """How alike the words stay that the question's positions predict, with modules or edges knocked out.

        Returns:
            columns intervention, window, layer, similarity (Jaccard, from 0 to 1); see `probes.words` and [flow]
            equation 9.
        """

        return words(self, prompt, modules=modules, edges=edges, window=window, top=top, pooled=pooled)

    def lens(self, prompt: Prompt, words: Mapping[str, str], final_norm: bool = True) -> pl.DataFrame:
        """The probability of each word's first token at the last position after every layer.

        Args:
            words: name → word, for instance {"lowercase answer": "red"}.
            final_norm: norm inner states as the last one is; [flow] equation 8 and its code do not.

        Returns:
            columns layer (−1 for the embedding), word (its name), probability.
        """

        return lens(self, prompt, words, final_norm)


class VisionLanguageModel(model.VisionLanguageModel, LanguageModel):
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
    """Load a vision-language model to measure it; arguments and errors are those of `models.load.load_model`."""
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
    """Load a language model to measure it; arguments and errors are those of `models.load.load_language_model`."""
    return load.load_language_model(
        path, device=device, dtype=dtype, revision=revision, template=template, model_class=LanguageModel
    )
