"""Exported states of planted models: a linear readout finds the code where it was planted, and nowhere before."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from safetensors.numpy import load_file

from support.planted import scene, stages
from support.questions import make_question
from vlmflow.calibration.planted import QUESTION, RELATED_BITS, Plant, build_planted
from vlmflow.probes import StatesProbe
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.states.export import INDEX, export_states
from vlmflow.prompts.build import Patches

SEGMENTS = ["related patches", "other patches", "question", "last"]
RELATED = 7  # the related object's patch: 6 × 6 patches, row 1, column 1


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A question about an image of each code."""
    folder = tmp_path_factory.mktemp("codes")
    found = []
    for bits in RELATED_BITS:
        path = folder / f"{bits[0]}{bits[1]}.png"
        scene(bits).image.save(path)
        about = {"id": path.stem, "image_id": path.stem, "image": str(path), "text": QUESTION}
        found.append(make_question(**about, patches=Patches(36, [RELATED])))
    return found


def readout_error(states, bits):
    """The largest error of the best linear readout of the bits, with an intercept, from states (rows, width)."""
    known = np.hstack([states, np.ones((len(states), 1))])
    weights = np.linalg.lstsq(known, bits, rcond=1e-6)[0]
    return np.abs(known @ weights - bits).max()


@pytest.mark.planted("states")
@settings(max_examples=5)
@given(at=stages(2))
def test_a_linear_readout_finds_the_code_from_the_planted_layer_on(questions, tmp_path_factory, at):
    layers, (related, last) = at
    folder = tmp_path_factory.mktemp("states")
    probe = StatesProbe(kind="states", segments=SEGMENTS, form="safetensors")
    run = ProbeRun(build_planted(Plant.through_question(layers, related, last)), probe, "s")
    StatesProbe.table.write(pl.concat([run.measure(each) for each in questions]), folder / "t.parquet")
    export_states([folder / "t.parquet"], folder / "s.safetensors", folder / "i.parquet")
    tensors, index = load_file(folder / "s.safetensors"), INDEX.read(folder / "i.parquet")
    carried_from = {"related patches": -1, "question": related, "last": last, "other patches": layers}
    for segment in SEGMENTS:
        bits = np.array([[float(bit) for bit in name] for name in index.filter(segment=segment)["question_id"]])
        for layer in range(-1, layers):
            error = readout_error(tensors[f"{segment}.layer_{layer}"], bits)
            if layer >= carried_from[segment]:
                # Not 0: layers norm their inputs, so that codes differ in size.
                assert error < 0.2, (segment, layer)
            else:  # the best readout of each bit is its mean
                assert error == pytest.approx(0.5, abs=1e-3), (segment, layer)
