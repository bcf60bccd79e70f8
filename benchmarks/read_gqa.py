"""Time the reading of questions and scene graphs, as many as GQA's balanced validation set has.

    python benchmarks/read_gqa.py

writes questions about drawn scenes repeatedly, under new ids, into files of that size, and reads them as the workflow
does.
"""

import json
import resource
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from vlmflow.data import scenes
from vlmflow.data.gqa.reader import read_questions
from vlmflow.tables import QUESTIONS

QUESTIONS_COUNT, IMAGES, OBJECTS = 132_062, 10_234, 16


def write(folder: Path) -> None:
    scenes.write_scenes(folder, images=50, seed=0)
    questions = json.loads((folder / "questions.json").read_text())
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    filler = {"name": "thing", "x": 1, "y": 2, "w": 3, "h": 4, "attributes": ["a", "b"], "relations": []}
    names = list(graphs)
    for number in range(IMAGES):
        graph = graphs[names[number % len(names)]]
        more = {f"{number}-{extra}": filler for extra in range(OBJECTS - len(graph["objects"]))}
        graphs[f"image-{number}"] = graph | {"objects": graph["objects"] | more}
    entries = islice(cycle(questions.values()), QUESTIONS_COUNT)
    many = {
        f"{number:08d}": entry | {"imageId": f"image-{int(entry['imageId']) + 50 * (number % (IMAGES // 50))}"}
        for number, entry in enumerate(entries)
    }
    (folder / "questions.json").write_text(json.dumps(many))
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        megabytes = (folder / "questions.json").stat().st_size / 1e6
        start = time.perf_counter()
        rows, skipped = read_questions(folder / "questions.json", folder / "sceneGraphs.json")
        QUESTIONS.write(rows, folder / "questions.parquet")
        seconds = time.perf_counter() - start
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    broken = sum(row["problem"] is not None for row in rows)
    print(f"{len(rows)} questions ({megabytes:.0f} MB), {broken} with a problem, {len(skipped)} malformed")
    print(f"{seconds:.1f} s, at most {gigabytes:.1f} GB of memory (writing them included)")
