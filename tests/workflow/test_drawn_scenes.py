"""Scenes that a rule draws, with the settings of each dataset of a study."""

from PIL import Image

from support.studies import smallest_study
from support.workspace import Workspace
from vlmflow.data import dataset_from, scenes


def test_scenes_are_drawn_with_the_contrast_of_their_dataset(tmp_path):
    study = smallest_study()
    contrasts = {"Full": 1.0, "Pale": 0.5, "Faint": 0.00001}
    datasets = {name: study["dataset"] | {"images": 2, "contrast": share} for name, share in contrasts.items()}
    study["tasks"] = {name: {"dataset": dataset} for name, dataset in datasets.items()}
    workspace = Workspace(tmp_path)
    workspace.write(study)
    done = workspace.snakemake("--until", "render_scenes")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, dataset in datasets.items():
        for number in range(2):
            drawn = Image.open(tmp_path / dataset_from(dataset).image_source().folder / f"{number}.png")
            scene = scenes.render(scenes.draw_scene(number, seed=0), contrasts[name])
            assert drawn.tobytes() == scene.tobytes(), name
