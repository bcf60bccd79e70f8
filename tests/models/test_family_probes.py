"""Maps over the image, words of image tokens, and occlusion, in a family of each layout."""

import polars as pl
import pytest

from support.compared_families import model, one_thread  # noqa: F401 (a fixture)
from support.families.base import QUESTION
from support.noise import noise_image
from support.questions import make_question, thing
from vlmflow.errors import NotApplicableError
from vlmflow.probes.attention_map.measure import attention_map
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.occlusion.measure import occlusion
from vlmflow.probes.output_lens.measure import output_lens
from vlmflow.probes.states.measure import states
from vlmflow.probes.visual_lens.measure import visual_lens

# One per layout, one whose patches are measured, and a hybrid.
NAMES = (
    *("Qwen2.5-VL", "InternVL", "Idefics3", "Ovis2", "Gemma 3", "Gemma 4", "Janus", "LightOnOCR", "HunYuan-VL"),
    *("LLaVA", "LLaVA-NeXT", "LLaVA-OneVision", "MiniCPM-V 4.6", "Qwen3.5"),
)


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "image.png"
    noise_image((130, 90)).save(path)
    objects = (thing("circle", (40.0, 30.0, 50.0, 40.0), ["red"]),)
    return make_question(
        id="1", image_id="1", image=str(path), image_size=(130, 90), text=QUESTION, objects=objects, token_ids=[6]
    )


@pytest.mark.parametrize("name", NAMES)
def test_probes_of_the_image_work(name, question):
    vlm = model(name)
    context = ProbeContext(vlm, questions=[question])
    prompt = context.prompt(question)
    found = vlm.patch_maps.find((130, 90))
    whole = found.views[found.whole]
    grid = 2
    lens = visual_lens(
        context, question, top=5, instructions=["correct"], instruction_positions=["after"], keep_words=True
    )
    assert len(lens) == len(vlm.layers) + 1
    assert lens["object"].is_not_null().all()
    assert set(lens["decoded"].list.len()) == {whole.rows * whole.columns}
    output = output_lens(context, question, {"own": "{question}"}, ["image", "question", "last"])
    assert len(output) == 3 * (len(vlm.layers) + 1)
    assert set(output.filter(pl.col("layer") == len(vlm.layers) - 1)["agreement"]) == {100.0}
    read = states(vlm, prompt, ["image", "last"], mean=False)
    assert len(read) == (len(prompt.positions("image")) + 1) * (len(vlm.layers) + 1)
    assert set(read["states"].list.len()) == {vlm.facts()["width"]}
    increases = occlusion(context, question, prompt, grid)["loss_increase"][0]
    assert len(increases) == grid * grid
    assert any(abs(each) > 1e-6 for each in increases)
    if name == "Qwen3.5":
        with pytest.raises(NotApplicableError, match="does not allow its attention function to be replaced"):
            attention_map(vlm, prompt, question.image, ["question"])
        return
    maps = attention_map(vlm, prompt, question.image, ["question", "last"])
    assert len(maps) == 2 * len(vlm.layers)
    assert maps.select("rows", "columns").unique().row(0) == (whole.rows, whole.columns)
    sums = [sum(weights) for weights in maps["weight"]]
    assert set(maps["weight"].list.len()) == {whole.rows * whole.columns}
    # A sliding window may hide the image in some layers.
    assert all(0 <= each <= 100 for each in sums)
    assert max(sums) > 0
