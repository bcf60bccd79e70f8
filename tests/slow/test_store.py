"""What a study measures again after a change, and what it takes from the store; run by Snakemake."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from support.studies import smallest_study
from support.workspace import Workspace

pytestmark = pytest.mark.slow
SCENES = "resources/synthetic/12-0"


def study(**changes):
    """Two probes on the questions and images of the user's own; 5 of about 12 questions are analysed."""
    changed = smallest_study()
    changed["dataset"] = {
        "source": "gqa",
        "questions": "mine/questions.json",
        "scene_graphs": "mine/sceneGraphs.json",
        "images_dir": "mine/images",
    }
    changed["sample"]["per_task"] = 5
    changed["probes"]["tracking"] = {"kind": "lens"}
    changed["models"]["tiny-llava"]["shards"] = 1
    return changed | changes


def summary_files(study):
    return [f"results/{study['study']}/summary/{name}.parquet" for name in (*study["probes"], "answers")]


class Run:
    """A working folder, and what each run in it measured."""

    def __init__(self, folder):
        self.workspace = Workspace(folder)
        synthetic = smallest_study() | {"study": "source"}
        synthetic["dataset"]["images"] = 12
        self.workspace.write(synthetic)
        done = self.workspace.snakemake("results/source/questions.parquet")
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copytree(folder / SCENES, folder / "mine")
        shutil.copytree(folder / "resources/tiny-llava", folder / "model")

    def __call__(self, study, *arguments):
        """Step of each job that ran → (questions that it measured, those that the store had)."""
        self.workspace.write(study)
        logs = self.workspace.folder / "results" / study["study"] / "logs"
        for note in logs.rglob("*.cost.json"):
            note.unlink()
        done = self.workspace.snakemake(*(arguments or summary_files(study)))
        assert done.returncode == 0, done.stdout + done.stderr
        found = {}
        for note in logs.rglob("*.cost.json"):
            numbers = json.loads(note.read_text())
            rule, *_ = note.relative_to(logs).parts
            step = note.parent.name if rule == "run_probe" else rule
            before = found.get(step, (0, 0))
            found[step] = (before[0] + numbers["measured"], before[1] + numbers["kept"])
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("store"))


def test_every_change_measures_what_it_changed(run):
    folder = run.workspace.folder
    own = study()
    own["models"]["tiny-llava"]["path"] = "model"
    first = run(own)
    asked = first["answer_questions"][0]
    assert asked >= 10
    assert first == {"answer_questions": (asked, 0), "flow": (5, 0), "tracking": (5, 0)}
    before = summaries(folder)

    # A larger sample measures what is new.
    own["sample"]["per_task"] = 8
    assert run(own) == {"flow": (3, 5), "tracking": (3, 5)}

    # A task that is added is measured; the others are not.
    own["tasks"]["ChooseAttr"] = {"structural": "choose", "semantic": "attr"}
    added = run(own)
    assert added["answer_questions"][1] == asked
    assert added["answer_questions"][0] >= 10
    assert added["flow"] == added["tracking"] == (8, 8)
    del own["tasks"]["ChooseAttr"]
    assert {measured for measured, _ in run(own).values()} == {0}

    # Another number of shards is only another division of the same work.
    own["models"]["tiny-llava"]["shards"] = 3
    assert run(own) == {"answer_questions": (0, asked), "flow": (0, 8), "tracking": (0, 8)}

    # A replaced image measures its questions; a touched one nothing; and so does an image about which nobody asks.
    image = sorted((folder / "mine/images").glob("*.png"))[0]
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    replaced = run(own)
    assert replaced["answer_questions"] == (1, asked - 1)
    assert sum(replaced["flow"]) == 8
    assert replaced["flow"][0] <= 1
    image.touch()
    shutil.copy(image, folder / "mine/images/another.png")
    (folder / "model/model.safetensors").touch()
    (folder / "mine/questions.json").touch()
    assert run(own) == {}

    # A changed probe measures that probe.
    module = folder / "workflow_scripts/vlmflow/probes/lens/measure.py"
    module.write_text(module.read_text() + "\nCHANGED = True\n")
    assert run(own) == {"tracking": (8, 0)}

    # A second study with the same answers asks none; and the first one is again as it was.
    second = study(study="second")
    second["models"]["tiny-llava"]["path"] = "model"
    del second["probes"]["tracking"]
    assert run(second) == {"answer_questions": (0, asked), "flow": (0, 5)}
    assert before.keys() == summaries(folder).keys()

    # What no study asks for any more can be removed; all others stay.
    done = run.workspace.snakemake("clean_store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "measurements kept" in (folder / "results/second/logs/clean_store.log").read_text()
    shutil.rmtree(folder / "results/second")
    assert run(second) == {"answer_questions": (0, asked), "flow": (0, 5)}


def summaries(folder):
    return {path.name: path.read_bytes() for path in (folder / "results/small/summary").glob("*.parquet")}


def test_the_number_of_shards_and_cores_changes_no_byte(run, tmp_path, monkeypatch):
    """Each measured anew, with a store of its own."""
    outcomes = []
    for shards, cores in ((1, 2), (4, 1)):
        own = study(study=f"shards-{shards}")
        own["models"]["tiny-llava"]["shards"] = shards
        monkeypatch.setitem(run.workspace.environment, "VLMFLOW_STORE", str(tmp_path / str(shards)))
        measured = run(own, "--cores", str(cores), "all")
        assert {kept for _, kept in measured.values()} == {0}
        folder = run.workspace.folder / "results" / own["study"]
        files = [*(folder / "summary").glob("*.parquet"), *(folder / "figures").rglob("*.*")]
        outcomes.append({
            str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "cost.parquet"
        })  # fmt: skip
    one, four = outcomes
    assert one.keys() == four.keys()
    assert len(one) > 6
    assert [path for path in one if one[path] != four[path]] == []


def test_two_runs_at_once_share_a_store(run, tmp_path, monkeypatch):
    """Two studies of one working folder, begun together: both end with the same bytes, and a third measures nothing."""
    monkeypatch.setitem(run.workspace.environment, "VLMFLOW_STORE", str(tmp_path))
    studies = [study(study=name) for name in ("left", "right")]
    for each in studies:
        run.workspace.write(each, f"{each['study']}.yaml")

    def whole(each):
        return run.workspace.snakemake(*summary_files(each), study=f"{each['study']}.yaml")

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(whole, studies))
    assert [done.returncode for done in runs] == [0, 0], [done.stderr for done in runs]
    for paths in zip(*map(summary_files, studies), strict=True):
        left, right = ((run.workspace.folder / path).read_bytes() for path in paths)
        assert left == right, paths
    # A store may be moved: what it holds does not depend on where it lies.
    monkeypatch.setitem(run.workspace.environment, "VLMFLOW_STORE", str(tmp_path.rename(tmp_path.with_name("moved"))))
    assert {measured for measured, _ in run(study(study="third")).values()} == {0}
