"""The library in a notebook: models with one method for each probe that needs no study file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from vlmflow.engine.interventions import Site
from vlmflow.engine.modules import Module
from vlmflow.models import load, vision_language
from vlmflow.probes.effects import given_answer, own_first_sub_word
from vlmflow.probes.heads.measure import heads
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.lens.measure import lens
from vlmflow.probes.logit_attribution.measure import logit_attribution
from vlmflow.probes.patching.measure import patching
from vlmflow.probes.pathway.kept import Cell
from vlmflow.probes.pathway.measure import pathway
from vlmflow.probes.words.measure import words
from vlmflow.prompts.build import Prompt
from vlmflow.prompts.own_segments import GivenEdge, Positions, with_given_edges, with_given_positions


class LanguageModel(vision_language.LanguageModel):
    """A decoder-only language model that reads captions, with its tokenizer and the probes."""

    def knockout(
        self, prompt: Prompt, edges: Sequence[GivenEdge], window: int | Sequence[int], answer: str | None = None
    ) -> pl.DataFrame:
        """The effect on the model's answer of each edge knocked out, in a window around each layer.

        Args:
            prompt: of this model.
            edges: each as "source -> target", two segments of the prompt, or as (source, target), each of which may be
                positions instead: a tensor or list of numbers from 0.
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
        prompt, named = with_given_edges(prompt, edges)
        followed = None if answer is None else given_answer(self, prompt, answer)
        return knockout(self, prompt, named, window, followed)

    def heads(
        self, prompt: Prompt, edges: Sequence[GivenEdge] = (), zero: Sequence[Positions] = (), window: int = 1
    ) -> pl.DataFrame:
        """The effect on the model's answer of each head of each layer by itself.

        Args:
            prompt: of this model.
            edges: as in `knockout`; each is knocked out in one head alone.
            zero: segments, or positions, at which the output of one head is zero.
            window: number of layers around each layer, odd, in which the head with this number is changed.

        Returns:
            columns intervention, window, layer, head (from 0), key_head (heads with the same number share their keys),
            p_base, p_after, change, and the others of `knockout`.

        Raises:
            ValueError, PromptError: as in `knockout`.
            InterventionError: the heads of this model are not found.
        """
        prompt, named = with_given_edges(prompt, edges)
        prompt, segments = with_given_positions(prompt, zero)
        return heads(self, prompt, named, segments, window)

    def patching(
        self,
        prompt: Prompt,
        donor: Prompt,
        segments: Sequence[Positions] = ("image", "question", "last"),
        sites: Sequence[Site] = ("input",),
        window: int = 1,
    ) -> pl.DataFrame:
        """The effect on the model's answer of the donor's states at some positions: activation patching.

        Args:
            prompt: of this model, in whose forward states are replaced.
            donor: of this model, with the same layout of tokens and another answer; the states come from its forward.
            segments: segments, or positions, at which states are replaced.
            sites: where in a layer: "input", "attention", "mlp" (their outputs), or "head" (of each single head).
            window: number of layers around each layer, odd, in which states are replaced.

        Returns:
            columns site, segment, window, layer, head (−1 at other sites), p_base, p_patched and the others of
            `knockout`, towards (percent of the way to the donor's answer), becomes (100 where its answer becomes the
            most probable token, else 0).

        Raises:
            NotApplicableError: the layouts differ, or both answers begin with the same sub-word.
            PromptError: a prompt does not have a segment.
            InterventionError: the layers have no such site.
        """
        prompt, named = with_given_positions(prompt, segments)
        donor, _ = with_given_positions(donor, segments)
        runs = [own_first_sub_word(self, each, self.record(each)) for each in (prompt, donor)]
        return patching(self, runs[0], runs[1], named, sites, window)

    def pathway(self, prompt: Prompt, keep: Mapping[str, Mapping[str, str | tuple[int, int]]]) -> pl.DataFrame:
        """The effect on the model's answer if all attention between image, question, template and last position is
        blocked but that of some edges.

        Args:
            prompt: of this model.
            keep: name of a set → its edges → "all", or (first, last) of the layers in which the edge is kept.

        Returns:
            columns keep (the name of the set), p_base, p_kept, change, and the others of `knockout`.

        Raises:
            ValueError: an edge is not valid.
            PromptError: the prompt does not have a segment of an edge.
        """
        layers = len(self.layers)
        sets = {
            name: [
                Cell(edge, 0, layers) if isinstance(ends, str) else Cell(edge, ends[0], ends[1] + 1)
                for edge, ends in edges.items()
            ]
            for name, edges in keep.items()
        }
        return pathway(self, prompt, sets).drop("edge", "layer", "until", "cells", "smallest")

    def logit_attribution(self, prompt: Prompt) -> pl.DataFrame:
        """What each head, attention and MLP adds directly to the logit of the token that the model generates first, and
        to the margin between the options of the prompt.

        Returns:
            columns part (embedding, attention, mlp, head), layer (−1 for the embedding), head, key_head (−1 where the
            part is no head), logit (less the mean over the vocabulary), margin (null without options).

        Raises:
            InterventionError: the model's layers are no sums of their parts.
        """
        followed = own_first_sub_word(self, prompt, self.record(prompt))
        return logit_attribution(self, prompt, followed.token_ids[0], followed.options)

    def words(
        self,
        prompt: Prompt,
        modules: Sequence[Module] = (),
        edges: Sequence[GivenEdge] = (),
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
            edges: as in `knockout`; each is knocked out in `window` layers around each layer.
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
        prompt, named = with_given_edges(prompt, edges)
        return words(self, prompt, modules=modules, edges=named, window=window, top=top, pooled=pooled)

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
