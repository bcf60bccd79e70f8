"""Probes of models in half precision."""

import pytest
import torch

from support.noise import noise_image
from support.random_prompts import FOUR_EDGES, talking_llava
from support.random_prompts import prompt_with_segments as prompt_of
from vlmflow.probes.effects import last_sub_word
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.pruning.measure import pruning
from vlmflow.probes.words.measure import words


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probes_in_half_precision_are_close_to_float32(dtype):
    """Every probe runs as it is, and says about what float32 says."""
    half, single = talking_llava(4, 3, dtype=dtype), talking_llava(4, 3, dtype=torch.float32)
    with torch.no_grad():
        for mine, theirs in zip(single.model.parameters(), half.model.parameters(), strict=True):
            mine.copy_(theirs)
    changes, similarities, norms, image = [], [], [], noise_image(12)
    for vlm in (half, single):
        prompt = prompt_of(vlm, 3, image)
        changes.append(knockout(vlm, prompt, FOUR_EDGES, [1, 3], last_sub_word(vlm, prompt, [5, 6]))["p_knockout"])
        similarities.append(words(vlm, prompt, modules=["attention", "mlp"], window=2, top=3)["similarity"])
        norms.append(torch.tensor(vlm.feature_norms(prompt)))
        rows = pruning(vlm, prompt, [0, 2], "x", vlm.answer(prompt).token_ids, with_time=True)
        assert rows["time_share"].null_count() == 0
    assert ((changes[0] / changes[1]) - 1).abs().max() < 0.15
    assert (similarities[0] - similarities[1]).abs().max() < 0.35
    torch.testing.assert_close(norms[0], norms[1], rtol=0.02, atol=0)
