"""Models with many questions for the page of single questions, with images as hard to compress as photographs."""

import numpy as np
import polars as pl
from PIL import Image

from vlmflow.prompts.explored_view import _webp
from vlmflow.report.explorer import ExploredModel, explorer_page, script
from vlmflow.tables import ANSWERS, EXPLORED, SELECTED, SKIPPED

EVIL = "</script><script>alert('evil')</script><img src=x onerror=alert(1)>"
EDGES = ["question -> last", "image -> last", "image -> question"]
LAYERS = 32
GRID = 24  # patches per side


def photograph(seed, side=336):
    """Noise at every scale, as photographs have it."""
    draw = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3))
    for size in (4, 8, 16, 32, 64, 128):
        noise = draw.normal(0, 60 / np.sqrt(size / 4), (size, size, 3)).astype(np.float32)
        layers = [Image.fromarray(noise[..., channel]).resize((side, side), Image.BICUBIC) for channel in range(3)]
        pixels += np.stack([np.asarray(each) for each in layers], axis=2)
    return Image.fromarray(np.clip(pixels + 128, 0, 255).astype(np.uint8))


def explored_model(count, *, name="model", detailed=8, with_words=8, images=40, seed=0):
    """A model that was asked `count` questions: every seventh answer is wrong, and five questions were dropped.

    Args:
        count: questions.
        name: of the model.
        detailed: questions with attention.
        with_words: questions with decoded words.
        images: different images; they are repeated.
        seed: of the numbers.
    """
    draw = np.random.default_rng(seed)
    ids = [f"q{number:05}" for number in range(count)]
    tasks = [("ChooseAttr", "QueryAttr")[number % 2] for number in range(count)]
    texts = [EVIL if number == 0 else f"Is the thing number {number} red or blue?" for number in range(count)]
    about = pl.DataFrame({"task": tasks, "question_id": ids})
    answers = about.with_columns(
        image_id=pl.col("question_id"),
        predicted=pl.Series(["Blue" if number % 7 == 0 else "Red" for number in range(count)]),
        answer=pl.lit("red"),
        correct=pl.Series([number % 7 != 0 for number in range(count)]),
        probability=pl.lit(0.9),
        token_ids=pl.lit([1, 2], dtype=pl.List(pl.Int64)),
        tokens=pl.lit(["Re", "d"], dtype=pl.List(pl.String)),
        token_probabilities=pl.lit([0.9, 0.8], dtype=pl.List(pl.Float64)),
    )
    dropped = pl.DataFrame(
        {"question_id": [f"d{number}" for number in range(5)], "task": "ChooseAttr", "model": name, "stage": "images"}
    ).with_columns(what=pl.lit(""), reason=pl.lit("the image cannot be opened"))
    questions = pl.concat([about, dropped.select("task", "question_id")]).with_columns(
        question=pl.Series([*texts, *(f"Dropped {number}?" for number in range(5))]), answer=pl.lit("red")
    )
    encoded = [_webp(photograph(number).resize((256, 256))) for number in range(min(images, count))]
    box = {"name": "thing", "x": 0.2, "y": 0.3, "w": 0.3, "h": 0.25}
    views = about.with_columns(
        image=pl.Series([encoded[number % len(encoded)] for number in range(count)]),
        width=256,
        height=256,
        rows=GRID,
        columns=GRID,
        boxes=pl.Series([[box]] * count, dtype=EXPLORED.columns["boxes"].dtype),
        related=pl.lit([30, 31, 54, 55], dtype=pl.List(pl.Int32)),
    )
    lines = about.join(pl.DataFrame({"edge": EDGES}), how="cross").join(
        pl.DataFrame({"layer": pl.Series(range(LAYERS), dtype=pl.Int32)}), how="cross"
    )
    curves = lines.with_columns(change=pl.Series(draw.normal(-20, 15, len(lines))))
    means = curves.group_by("task", "edge", "layer", maintain_order=True).agg(mean=pl.col("change").mean())
    means = means.with_columns(low=pl.col("mean") - 2, high=pl.col("mean") + 2)
    track = about.join(pl.DataFrame({"word": ["capitalised answer", "lowercase answer"]}), how="cross").join(
        pl.DataFrame({"layer": pl.Series(range(-1, LAYERS), dtype=pl.Int32)}), how="cross"
    )
    track = track.with_columns(probability=pl.Series(draw.uniform(0, 1, len(track))))
    few = about.head(detailed).join(pl.DataFrame({"layer": pl.Series(range(LAYERS), dtype=pl.Int32)}), how="cross")
    cells = [draw.gamma(0.5, 1, GRID * GRID).tolist() for _ in range(len(few))]
    attention = few.with_columns(
        target=pl.lit("last"), rows=GRID, columns=GRID, weight=pl.Series(cells, dtype=pl.List(pl.Float32))
    )
    decoded = ["red", "a very long word", EVIL] * (GRID * GRID // 3)
    words = few.filter(pl.col("question_id").is_in(ids[:with_words])).with_columns(
        instruction=pl.lit("correct"),
        instruction_position=pl.lit("after"),
        decoded=pl.lit(decoded, dtype=pl.List(pl.String)),
    )
    return ExploredModel(
        name=name,
        layers=LAYERS,
        questions=questions,
        answers=ANSWERS.frame(answers),
        selected=SELECTED.frame(about.head(count // 2)),
        skipped=SKIPPED.frame(dropped),
        views=EXPLORED.frame(views),
        curves=curves,
        means=means,
        track=track,
        attention=attention,
        words=words,
    )


def write_explorer(folder, models, libraries):
    """The page and its files as the workflow writes them; the size of all files that hold questions, in bytes."""
    pages = folder
    pages.mkdir(parents=True, exist_ok=True)
    size = 0
    for number, model in enumerate(models):
        files = {f"index-{number}": script("index", model.index(), number)}
        files |= {
            f"part-{number}-{part}": script("part", each, number, part) for part, each in enumerate(model.parts())
        }
        for name, text in files.items():
            (pages / f"{name}.js").write_text(text, encoding="ascii")
            size += len(text)
    (pages / "vega-embed.js").write_text(libraries, encoding="utf-8")
    counts = {model.name: len(model.listed) for model in models}
    (pages / "index.html").write_text(explorer_page("study", counts), encoding="utf-8")
    return size
