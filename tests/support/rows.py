"""Questions about noise, and a small random model, for probes of image and words."""

import pytest
import torch
from PIL import Image

from support.noise import noise_image
from support.paths import random_llava
from support.questions import make_question, thing
from vlmflow.probes.context import ProbeContext

QUESTIONS = [
    "what color is the circle , red or blue ?",
    "is the square red ?",
    "what is to the left of the circle ?",
    "is a circle in the image ?",
]
THINGS = [("circle", ["red"]), ("square", ["blue"]), ("circle", ["left"]), ("square", ["a"])]


@pytest.fixture(scope="module")
def noise_questions(tmp_path_factory):
    """Four questions, the last two about one image."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for number, (text, (name, attributes)) in enumerate(zip(QUESTIONS, THINGS, strict=True)):
        path = folder / f"{min(number, 2)}.png"
        noise_image(12, min(number, 2)).save(path)
        found.append(
            make_question(
                id=str(number),
                image_id=path.stem,
                image=str(path),
                image_size=(12, 12),
                text=text,
                objects=(thing(name, (4.0, 0.0, 8.0, 4.0), attributes),),
                token_ids=[6],
            )
        )
    return found


@pytest.fixture(scope="module")
def random_vlm():
    return random_llava(layers=3, grid=3, heads=4, key_heads=2)


@pytest.fixture
def probe_context(random_vlm, noise_questions):
    return ProbeContext(random_vlm, questions=noise_questions)


def shown(vlm, row, text=None):
    return vlm.prompt(Image.open(row.image), text or row.text)


def hidden(vlm, prompt):
    """(layers + 1, N, width) states as `transformers` gives them, the last ones before the final norm."""
    states = []
    handle = vlm.layers[-1].register_forward_hook(
        lambda _m, _a, out: states.append(out if torch.is_tensor(out) else out[0])
    )
    with torch.no_grad():
        all_states = vlm.model(**prompt.inputs, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.cat([*all_states[:-1], states[0]])
