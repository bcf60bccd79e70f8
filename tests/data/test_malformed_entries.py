"""Ten thousand malformed entries of questions and scene graphs, and some of every other dataset.

From the files to patch maps nothing stops, and every entry is a question or a skipped row with a reason."""

import copy
import csv
import json
import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.paths import TINY_LLAVA
from support.questions import of_task
from vlmflow.data import dataset_from
from vlmflow.data.base import ImageSource
from vlmflow.data.entries import SAME_ID
from vlmflow.data.fetch.images import with_images
from vlmflow.data.gqa_paper import PaperQuestion
from vlmflow.data.sampling import in_task, usable_questions
from vlmflow.data.scenes import write_scenes
from vlmflow.jobs.job import for_each_question
from vlmflow.models.processor import load_processor
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import patch_row
from vlmflow.study import Task
from vlmflow.tables import CANDIDATES, PATCHES, QUESTIONS, SKIPPED, TASK

EXAMPLES, ENTRIES, BROKEN_GRAPHS = 25, 400, 60
MADE = Counter()

# JSON that Python does not write: deep lists, integers of 5,000 digits, keys that stand there twice.
RAW = {
    "@deep@": "[" * 3000 + "]" * 3000,
    "@digits@": "9" * 5000,
    "@twice@": '{"a": 1, "a": 2}',
    "@exponent@": "1e999",
}
EXTREME = [
    None,
    True,
    -1,
    0,
    2**31,
    10**30,
    -(10**400),
    1e308,
    -1e308,
    1e-320,
    math.nan,
    math.inf,
    "",
    " ",
    "\0",
    "\ud800",
    "a" * 20_000,
    " " * 20_000 + "(",
    "../x",
    "ﷺ🏳️‍🌈\u202e",
    [],
    {},
    [[]],
    {"\udfff": 1},
    *RAW,
]
JSON = st.recursive(
    st.sampled_from(EXTREME) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def places(entry, way=()):
    """The way to every value of an entry."""
    if way:
        yield way
    pairs = entry.items() if isinstance(entry, dict) else enumerate(entry) if isinstance(entry, list) else ()
    for key, value in pairs:
        yield from places(value, (*way, key))


def mutated(entry, draw_place, change, value):
    """A copy of an entry with a change at one of its places."""
    entry = copy.deepcopy(entry)
    ways = list(places(entry))
    *way, last = ways[draw_place % len(ways)]
    parent = entry
    for key in way:
        parent = parent[key]
    match change:
        case "drop":
            del parent[last]
        case "wrap":
            parent[last] = [parent[last]]
        case "text":
            parent[last] = str(parent[last])
        case _:
            parent[last] = value
    return entry


def malformed(entries, values, random):
    """One of the valid entries with one to three changes, or any JSON at all."""
    if random.random() < 0.15:
        return random.choice(values)
    entry = random.choice(entries)
    for _ in range(random.randint(1, 3)):
        if not list(places(entry)):
            break
        entry = mutated(
            entry,
            random.randrange(10_000),
            random.choice(["drop", "wrap", "text", *["put"] * 4]),
            random.choice(values),
        )
    return entry


def written(content):
    text = json.dumps(content)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}": ', f'"{name} as a key": ').replace(f'"{name}"', raw)
    return text


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, images=2, seed=0)
    return folder


@pytest.fixture(scope="module")
def processor():
    return load_processor(TINY_LLAVA)


def check(rows, skipped, folder):
    """The tables that are written hold what was read, and each skipped row has a reason."""
    QUESTIONS.write(rows, folder / "q.parquet")
    SKIPPED.write(skipped, folder / "s.parquet")
    questions, left_out = QUESTIONS.read(folder / "q.parquet"), SKIPPED.read(folder / "s.parquet")
    assert questions["question_id"].is_unique().all()
    assert left_out["reason"].str.strip_chars().str.len_chars().min() != 0
    return questions, left_out


def follow(questions, images, processor):
    """Every question through tasks, images and patch maps, at each of which it goes on or is skipped."""
    task = Task()
    usable, lacking = usable_questions(questions, "T", task)
    assert len(usable) + len(lacking) == len(questions.filter(in_task(task)))
    kept, unseen = with_images(CANDIDATES.frame(usable), ImageSource(str(images)), task="T")
    kept = TASK.frame(kept)
    assert Counter([*kept["question_id"], *unseen["question_id"]]) == Counter(usable["question_id"])
    for rule in ("overlap", "painted"):
        rows, unmapped = for_each_question(
            of_task(kept, "T"),
            lambda row, rule=rule: patch_row(PatchMaps(processor), row, rule),
            stage="patches",
            model="m",
        )
        assert set(PATCHES.frame(rows)["task"]) <= {"T"}
        SKIPPED.frame(pl.concat([lacking, unseen, unmapped]))
        assert not unmapped["reason"].str.contains("unexpected").any(), unmapped["reason"].to_list()
        assert Counter([*(row["question_id"] for row in rows), *unmapped["question_id"]]) == Counter(
            kept["question_id"]
        )
    return len(rows)


@pytest.fixture(scope="module", autouse=True)
def counted():
    """The number of entries that the tests of this file say they try."""
    MADE.clear()
    yield
    if MADE["gqa"]:
        assert MADE["gqa"] >= EXAMPLES * ENTRIES == 10_000
        assert MADE["asked"] > 100, "some malformed entries are good enough to be asked"
        assert MADE["mapped"] > 100, "and to be mapped"
        assert MADE["skipped"] > 1000


# Files are large, so that a failure is told as it is found, not made smaller for minutes.
QUIET = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
FILES = {"values": st.lists(JSON, min_size=5, max_size=30), "random": st.randoms(use_true_random=True)}


def test_ten_thousand_malformed_questions_and_scene_graphs(scenes, processor, tmp_path_factory):
    questions = json.loads((scenes / "questions.json").read_text())
    graphs = json.loads((scenes / "sceneGraphs.json").read_text())
    valid = next(iter(questions.values()))
    images, folder = scenes / "images", tmp_path_factory.mktemp("fuzz")
    for number in range(BROKEN_GRAPHS):
        (images / f"g{number}.png").symlink_to(images / "0.png")

    @QUIET
    @given(**FILES)
    def one_file(values, random):
        values += EXTREME
        asked = [malformed(list(questions.values()), values, random) for _ in range(ENTRIES - BROKEN_GRAPHS)]
        broken = [malformed(list(graphs.values()), values, random) for _ in range(BROKEN_GRAPHS)]
        of_graphs = {f"g{number}": graph for number, graph in enumerate(broken)} | graphs
        of_questions = {f"q{number}": entry for number, entry in enumerate(asked)}
        # A good question on every broken graph.
        of_questions |= {f"on g{number}": valid | {"imageId": f"g{number}"} for number in range(BROKEN_GRAPHS)}
        # Some keys stand there twice.
        (folder / "questions.json").write_text(written(of_questions)[:-1] + ', "q0": 1, "q1": {}, "q1": null}')
        (folder / "sceneGraphs.json").write_text(written(of_graphs)[:-1] + ', "g0": 1}')
        files = {"questions": folder / "questions.json", "scene_graphs": folder / "sceneGraphs.json"}
        table, left_out = check(*dataset_from({"source": "gqa"}).read(files), folder)
        accounted = Counter([*table["question_id"], *left_out["question_id"]])
        assert accounted == Counter([*of_questions, "q0", "q1", "q1"])
        mapped = follow(table, images, processor)
        MADE.update(gqa=len(asked) + len(broken), asked=len(table), skipped=len(left_out), mapped=mapped)

    one_file()


OK_QUESTION = {"image_id": 7, "question": "what is it ?", "question_id": 70}
OK_ANNOTATION = {"question_id": 70, "question_type": "one", "answers": [{"answer": "cat"}, {"answer": "dog"}]}
A_QUESTION = {"question_id": "a", "image_id": 7, "question": "what ?", "direct_answers": ["x", "y"]}
CAPTION = {"id": 5, "image_id": 7, "caption": "a cat"}
EXAMPLE = {"id": 3, "image_0": "a", "image_1": "b", "caption_0": "one", "caption_1": "two"}
OTHERS = ["ok-vqa", "a-okvqa", "coco-captions", "winoground"]


def numbered(entry, number, key, own):
    """Entries have ids of their own, unless the id is what is malformed."""
    return entry | {key: number} if isinstance(entry, dict) and entry.get(key) == own else entry


@pytest.mark.parametrize("source", OTHERS)
def test_a_thousand_malformed_entries_of_other_datasets(source, tmp_path):
    key = "question_id" if "vqa" in source else "id"
    valid = dict(zip(OTHERS, (OK_QUESTION, A_QUESTION, CAPTION, EXAMPLE), strict=True))[source]
    dataset = dataset_from({"source": source})
    access = tmp_path / "access.json"
    access.write_text('{"granted": true}')
    files = {name: tmp_path / f"{name}.json" for name in ("questions", "annotations")} | {"access": access}

    @QUIET
    @given(**FILES)
    def one_file(values, random):
        values += EXTREME
        entries = [numbered(malformed([valid], values, random), number, key, valid[key]) for number in range(39)] + [
            valid
        ]
        annotations = [malformed([OK_ANNOTATION], values, random) for _ in range(10)]
        text = {
            "ok-vqa": written({"questions": entries}),
            "a-okvqa": written(entries),
            "coco-captions": written({"annotations": entries, "images": annotations}),
            "winoground": "\n".join(written(entry) for entry in entries),
        }[source]
        files["questions"].write_text(text)
        files["annotations"].write_text(written({"annotations": annotations}))
        questions, left_out = check(*dataset.read(files), tmp_path)
        MADE.update(**{source: len(entries)})
        if source == "coco-captions":  # of the captions of an image, one is taken
            assert questions["image_id"].is_unique().all()
            assert len(questions) + len(left_out) <= len(entries)
        elif source == "winoground":
            doubled = left_out.filter(pl.col("reason") == SAME_ID)
            assert (len(questions) + len(doubled)) / 2 + len(left_out) - len(doubled) == len(entries)
        else:
            assert len(questions) + len(left_out) == len(entries)

    one_file()
    assert MADE[source] >= 1000


def test_a_thousand_malformed_rows_of_the_papers_files(tmp_path):
    dataset = dataset_from({"source": "gqa-paper"})
    valid = dict.fromkeys(PaperQuestion.model_fields, "1") | {
        "central object name": "cat",
        "central object id": "7",
        **{f"central object {side}": "5" for side in "xywh"},
    }
    cells = ["", "-", "nan", "inf", "1e400", "-3", "9" * 5000, "a\0b", '"', "a,b\n", "ﷺ", "None", "x" * 9999]

    @QUIET
    @given(random=FILES["random"])
    def one_file(random):
        rows = [valid | {"question_id": str(number)} for number in range(40)]
        rows = [
            row | {random.choice(list(row)): random.choice(cells) for _ in range(random.randrange(4))} for row in rows
        ]
        with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(valid)
            # Cells too many or too few.
            writer.writerows(
                [*row.values()][: random.choice([99, 99, 99, 5])] + ["more"] * random.choice([0, 0, 9]) for row in rows
            )
        questions, left_out = check(*dataset.read({"questions": [tmp_path / "a.csv"]}), tmp_path)
        assert len(questions) + len(left_out) == len(rows)
        MADE.update(paper=len(rows))

    one_file()
    assert MADE["paper"] >= 1000
