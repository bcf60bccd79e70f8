"""Attention along edges and as maps over the image: sums and cells of the engine's weights and norms."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from support.rows import shown
from vlmflow.errors import PromptError
from vlmflow.probes import AttentionMapProbe
from vlmflow.probes.attention.measure import _concentration, attention
from vlmflow.probes.attention_map.measure import attention_map
from vlmflow.tables import Skipped


@pytest.mark.oracle("attention")
def test_attention_along_an_edge_is_the_sum_over_its_positions(random_vlm, noise_questions):
    prompt = shown(random_vlm, noise_questions[0])
    found = attention(random_vlm, prompt, ["image -> last", "question -> last", "image -> question"])
    look = random_vlm.attention_stats(prompt, ["last"])["last"]
    image = found.filter(pl.col("edge") == "image -> last")
    positions = prompt.positions("image")
    np.testing.assert_allclose(image["weight"], 100 * look.weights[:, positions].sum(1))
    np.testing.assert_allclose(image["norm"], look.norms[:, positions].sum(1))
    np.testing.assert_allclose(image["share"], 100 * look.norms[:, positions].sum(1) / look.norms.sum(1))
    strongest = np.sort(look.norms[:, positions].double().numpy(), axis=1)[:, -1:].sum(1)  # of 9: 0.45, hence one
    np.testing.assert_allclose(image["concentration"], 100 * strongest / image["norm"], rtol=1e-6)
    assert len(found) == 9


def test_concentration_is_the_part_of_the_strongest_positions():
    norms = torch.ones(3, 60)
    norms[1, 7:10] = 57 / 3  # three of sixty are 5 %
    norms[2] = 0
    assert _concentration(norms) == [pytest.approx(5), pytest.approx(50), None]


@pytest.mark.oracle("attention-map")
def test_maps_hold_the_attention_to_each_patch(random_vlm, probe_context, noise_questions):
    prompt = shown(random_vlm, noise_questions[0])
    found = attention_map(random_vlm, prompt, noise_questions[0].image, ["question"])
    assert set(found["target"]) == {"question"}
    bare = replace(noise_questions[0], objects=())
    both = AttentionMapProbe(kind="attention-map", targets=["question", "objects"])
    assert both.measure(probe_context, bare).equals(found)
    assert probe_context.skipped == [
        Skipped("0", "objects", "this prompt has no such segment: it was built without objects")
    ]
    look = random_vlm.attention_stats(prompt, ["question"])["question"]
    for row in found.to_dicts():
        assert (row["rows"], row["columns"], len(row["weight"])) == (3, 3, 9)
        np.testing.assert_allclose(row["weight"], 100 * look.weights[row["layer"], prompt.positions("image")])
        np.testing.assert_allclose(row["share"], 100 * look.shares[row["layer"], prompt.positions("image")])
    with pytest.raises(PromptError, match="none of the segments objects"):
        AttentionMapProbe(kind="attention-map", targets=["objects"]).measure(probe_context, bare)
