"""What each part adds to the residual stream, in every family: the parts add up to the state, and their logits to the
logits."""

import pytest
import torch

from support.compared_families import measured_families, model, one_thread, prompt_of  # noqa: F401 (a fixture)
from vlmflow.engine.modules import find_output_projection
from vlmflow.engine.residual_parts import residual_parts
from vlmflow.errors import InterventionError
from vlmflow.probes.logit_attribution.measure import logit_attribution

MEASURED = [name for name, family in measured_families().items() if not family.refused_at_record]
NO_ATTENTION, OTHER_SUM = "some layers have no attention", "does not add the outputs of its attention and its MLP"
REFUSED = {  # family → a phrase of the reason
    "Qwen3.5": NO_ATTENTION,
    "Qwen3.5-MoE": NO_ATTENTION,
    "Qwen3.5, attention first": NO_ATTENTION,
    "MiniCPM-V 4.7": NO_ATTENTION,
    "LFM3-VL": NO_ATTENTION,
    "Gemma 4": OTHER_SUM,  # it scales each layer's output, and adds embeddings to each layer
    "Gemma 4 with shared keys": OTHER_SUM,
    "BLIP-2 with OPT": "modules that may be its mlp",
}


@pytest.mark.parametrize("name", MEASURED)
def test_parts_add_up(name):
    vlm = model(name)
    prompt = prompt_of(vlm)
    if name in REFUSED:
        with pytest.raises(InterventionError, match=REFUSED[name]):
            residual_parts(vlm.model, vlm.layers, prompt.inputs, -1)
        return
    with torch.no_grad():
        parts = residual_parts(vlm.model, vlm.layers, prompt.inputs, -1)
        everything = parts.embedding + parts.attention.sum(0) + parts.mlp.sum(0)
        size = parts.output.abs().max()
        assert (everything - parts.output).abs().max() / size < 1e-9
        if all(find_output_projection(layer).bias is None for layer in vlm.layers):
            # Many norms compute in float32, whatever the model's dtype.
            assert (parts.heads.sum(1) - parts.attention).abs().max() / size < 1e-6
        logits = vlm.unembedding(vlm.norm(parts.output))  # before a cap
        token, other = logits.topk(2).indices.tolist()
        rows = logit_attribution(vlm, prompt, token, (token, other))
        whole = rows.filter(rows["part"] != "head")
        bias = vlm.norm(torch.zeros_like(parts.output))  # of a layer norm
        without = logits - vlm.unembedding(bias)
        assert whole["margin"].sum() == pytest.approx((without[token] - without[other]).item(), rel=1e-5, abs=1e-6)
        assert whole["logit"].sum() == pytest.approx((without[token] - without.mean()).item(), rel=1e-5, abs=1e-6)
