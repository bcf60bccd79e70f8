"""Rows of probes whose means are planted, so that the verdicts on claims are known; and rows without any flow."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import polars as pl

from vlmflow.claims.declared import StudyClaim, paper_claims
from vlmflow.claims.sources import GROUPS, Source

CHOOSE = ("ChooseAttr", "ChooseCat", "ChooseRel")
TASKS = (*CHOOSE, "CompareAttr", "LogicalObj", "QueryAttr")
SEGMENTS = ("true option", "false option", "objects", "question without options", "question without objects")
PAIRS = ("image and text", "within image", "within text")
# For many draws: of most probes, no claim names single tasks.
FEW_TASKS = ("ChooseAttr", "ChooseRel")
# Claims that something is negligible, the same, or as a number says; they are true where nothing flows.
TRUE_WITHOUT_FLOW = frozenset("F03 F06 F27-merged F28 F33 F54 F54-options T02".split())
NULLS = ("no flow", "noise", "smooth noise")
EMBEDDING = 1  # a line of states has one point more than there are layers


class PlantedSource(Source):
    """Rows that are drawn around planted means.

    Args:
        columns: column of `by` → its values, without the x axis.
        x: column of the x axis → its values; empty if there is none.
        mean: from model, task, the columns' values and x to the mean; maps return an array.
        noise: standard deviation of a question's value, and of its whole line.
        models, tasks: for which there are rows.
        images: of each task, with one question each.
        further: column → its value in all rows.
        maps: whether each value is a map.
        correlation: of the noise at neighbouring points of the x axis.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence],
        x: Mapping[str, Sequence],
        mean: Callable[..., float | np.ndarray],
        *,
        models: Sequence[str] = ("a",),
        tasks: Sequence[str] = TASKS,
        noise: float = 1.0,
        seed: int = 0,
        images: int = 40,
        further: Mapping[str, int] | None = None,
        maps: bool = False,
        correlation: float = 0.0,
    ) -> None:
        self.columns, self.x, self.mean = columns, x, mean
        self.names, self.asked, self.noise, self.seed, self.images = list(models), list(tasks), noise, seed, images
        self.further, self.maps, self.correlation = dict(further or {}), maps, correlation
        self.along = next(iter(x), None)
        self.position = self.along
        self.by = (*columns, *([self.along] if self.along else []))
        if set(columns) == set(GROUPS):
            self.by = self.mixed = GROUPS
        self.cache: dict[tuple[str, str], pl.DataFrame] = {}
        self.name = ""  # noise differs between sources of other names

    def models(self):
        return self.names

    def tasks(self):
        return self.asked

    def read(self, model, task):
        if (model, task) not in self.cache:
            self.cache[model, task] = self._draw(model, task)
        return self.cache[model, task]

    def _draw(self, model, task):
        rng = np.random.default_rng([self.seed, *f"{self.name} {model} {task}".encode()])
        points = next(iter(self.x.values())) if self.x else [0]
        frames = []
        for values in product(*self.columns.values()):
            means = np.array([self.mean(model, task, *values, point) for point in points], dtype=float)
            shape = (self.images, *means.shape)
            shift = rng.normal(0, self.noise / 2, (self.images, *[1] * means.ndim))
            drawn = means + shift + self.noise * self._along(rng.normal(size=shape))
            flat = drawn.reshape(self.images * len(points), -1)
            frames.append(
                pl.DataFrame(
                    {
                        "question_id": np.repeat([f"{task}{number}" for number in range(self.images)], len(points)),
                        "image_id": np.repeat([f"i{number}" for number in range(self.images)], len(points)),
                        **({self.along: np.tile(points, self.images)} if self.along else {}),
                        "value": list(flat) if self.maps else flat[:, 0],
                    }
                ).with_columns(
                    **{name: pl.lit(value) for name, value in zip(self.columns, values, strict=True)},
                    **{name: pl.lit(value) for name, value in self.further.items()},
                )
            )
        return pl.concat(frames)

    def _along(self, noise):
        """Independent noise (images, points, ...) as an autoregression of first order along the x axis."""
        for point in range(1, noise.shape[1]) if self.correlation else ():
            fresh = (1 - self.correlation**2) ** 0.5 * noise[:, point]
            noise[:, point] = self.correlation * noise[:, point - 1] + fresh
        return noise


def bump(depth: float, middle: float, width: float) -> float:
    """A bell of height 1."""
    return float(np.exp(-0.5 * ((depth - middle) / width) ** 2))


def step(depth: float, middle: float, width: float = 0.02) -> float:
    """A rise from 0 to 1."""
    return float(1 / (1 + np.exp(-(depth - middle) / width)))


def as_published(
    layers: int = 40,
    *,
    seed: int = 0,
    images: int = 40,
    null: str | None = None,
    few: Sequence[str] = TASKS,
) -> dict[str, Source]:
    """A source for each name under which the papers' claims refer to a probe, with means as the papers describe them.

    Args:
        layers: of the models.
        seed: of the noise.
        images: per task.
        null: one of `NULLS`: no flow (all means are the same), noise (a token that is not the answer: large changes of
            any sign), smooth noise (the same, and neighbouring layers change alike, as those of a model do).
        few: the tasks of probes of which no claim names single tasks.
    """
    windows, states = range(layers), range(-EMBEDDING, layers)

    def smaller(model: str) -> float:
        return 0.6 if model == "small" else 1.0

    def knockout(model: str, task: str, edge: str, layer: int, window: int = 9) -> float:
        depth, weak = layer / layers, 0.4 if task in ("CompareAttr", "LogicalObj") else 1.0
        # A larger window blurs the two drops into one, and deepens them.
        size = (window / 9) ** 0.5
        early, late = bump(depth, 0.05, 0.045), weak * bump(depth, 0.28, 0.05)
        if window > 9:
            early, late = bump(depth, 0.12, 0.11), 0.3 * bump(depth, 0.28, 0.1)
        known = {
            "question -> last": -45 * bump(depth, 0.6, 0.07),
            "image -> last": -2.5 * bump(depth, 0.6, 0.05) if task == "QueryAttr" else -0.1,
            "last -> last": 0.0,
            "image -> question": -60 * smaller(model) * early - 30 * late,
            "related patches -> question": -5 * early - 25 * late,
            "other patches -> question": -55 * smaller(model) * early - 6 * late,
            "other patches, as many as related -> question": -30 * early - 2 * late,
            "related patches without sinks -> question": -5 * early - 25 * late,
            "other patches without sinks -> question": -55 * early - 6 * late,
            "caption -> last": -20 * bump(depth, 0.15, 0.1),
            "true option -> last": -(3 if task == "ChooseRel" else 30) * bump(depth, 0.6, 0.05),
            "false option -> last": 20 * bump(depth, 0.6, 0.05),
            "options -> last": -35 * bump(depth, 0.6, 0.05),
            "question without options -> last": -8 * bump(depth, 0.6, 0.05),
            "objects -> last": -2 * bump(depth, 0.6, 0.05),
            "question without objects -> last": -30 * bump(depth, 0.6, 0.05),
            "question without options -> true option": -15 * bump(depth, 0.35, 0.05),
            "question without options -> false option": -15 * bump(depth, 0.35, 0.05),
            "question without objects -> objects": -10 * bump(depth, 0.2, 0.05),
        }
        if edge in known:
            return size * known[edge]
        source, segment = edge.split(" -> ")
        second = 0.0 if segment == "false option" else 0.5 if (task, segment) == ("ChooseRel", "true option") else 1.0
        spared = {("ChooseCat", "objects"), ("ChooseRel", "true option"), ("ChooseRel", "false option")}
        if source == "related patches" and (task, segment) in spared:
            second = 0.0
        early, late = bump(depth, 0.05, 0.045), bump(depth, 0.28, 0.05)
        if source == "image":
            return -25 * early - 20 * second * late
        if source == "other patches":
            return -25 * early - 2 * late
        return -2 * (second > 0) * early - 20 * second * late

    def lens(model: str, task: str, word: str, layer: int) -> float:
        depth = (layer + 1) / layers
        lower = 0.5 * step(depth, 0.6) * (1 - step(depth, 0.85))
        capital = 0.6 * step(depth, 0.85)
        known = {"lowercase answer": lower, "capitalised answer": capital}
        return known.get(word, 0.2 * (lower if word == "false option" else capital))

    def words(model: str, task: str, intervention: str, window: int, layer: int) -> float:
        depth = layer / (layers - 1)
        if intervention == "image -> question":
            return 1 - 0.3 * bump(layer / layers, 0.05, 0.05) - 0.2 * bump(layer / layers, 0.28, 0.05)
        return 0.1 + 0.65 * depth if intervention == "mlp" else 0.4 + 0.5 * depth

    def pruned(model: str, task: str, quantity: str, dropped: int) -> float:
        share = dropped / layers
        known = {"accuracy": 95.0 if share <= 0.6 else 60.0, "time": 100 - 80 * share, "work": 100 - 80 * share}
        return known.get(quantity, 2021.6 if quantity == "image tokens" else 11.3)

    def similar(model: str, task: str, prompt: str, pair: str, quantity: str, layer: int) -> float:
        knots = {
            "image and text": [0.05, 0.30, 0.10, 0.45, 0.20],
            "within image": [0.55, 0.45, 0.75, 0.65, 0.40],
            "within text": [0.40, 0.35, 0.50, 0.80, 0.55],
        }
        return float(np.interp((layer + 1) / layers, [0, 0.15, 0.4, 0.8, 1.0], knots[pair]))

    def thesis_similar(model: str, task: str, prompt: str, pair: str, quantity: str, layer: int) -> float:
        """One curve of three straight pieces, with two maxima: at the embedding, and after a steep rise."""
        return float(np.interp((layer + 1) / layers, [0, 0.6, 0.75, 1.0], [0.3, 0.1, 0.5, 0.45]))

    def output(model: str, task: str, prompt: str, segment: str, quantity: str, layer: int) -> float:
        depth = (layer + 1) / layers
        return 10 - 8 * step(depth, 0.85) if quantity == "entropy" else 100 * step(depth, 0.85)

    def attention(model: str, task: str, edge: str, quantity: str, layer: int) -> float:
        depth = layer / layers
        return 5 + 10 * step(depth, 0.5, 0.03) * (1 - 0.8 * step(depth, 0.95, 0.01))

    def decoded(model: str, task: str, instruction: str, place: str, quantity: str, layer: int) -> float:
        return 5 + (30 * step((layer + 1) / layers, 0.5) if quantity == "object" else 0)

    def loss(model: str, task: str, prompt: str, keep: str, tokens: int) -> float:
        return max(3 - 0.4 * float(np.log2(1 + tokens)), 1.0) + {"shows": 0.3}.get(prompt, 0.0)

    def attended(model: str, task: str, target: str, quantity: str, layer: int, point: int) -> np.ndarray:
        return np.where(np.arange(100) < 5, 4.0, 0.5)

    def occluded(model: str, task: str, point: int) -> np.ndarray:
        return np.where(np.arange(36) < 4, 1.0, 0.05)

    def accuracy(model: str, task: str, structural: str, semantic: str, detailed: str, point: int) -> float:
        return 90.0 if structural != "query" or detailed != "d" else 40.0

    edges = ["question -> last", "image -> last", "last -> last", "image -> question", "related patches -> question"]
    edges += ["other patches -> question", "other patches, as many as related -> question"]
    parts = [f"{source} -> {each}" for source in ("image", "related patches", "other patches") for each in SEGMENTS]
    fine = ["true option", "false option", "options", "objects", "question without options", "question without objects"]
    fine = [f"{each} -> last" for each in fine]
    fine += [f"question without options -> {each} option" for each in ("true", "false")]
    fine += ["question without objects -> objects", *parts]
    both = {"models": ("a", "small"), "images": images, "seed": seed}
    two = {**both, "tasks": ("COCO", "Winoground")}
    flowing = {**both, "tasks": TASKS}
    one = {"images": images, "seed": seed}
    by_part = {**one, "tasks": TASKS}
    layer, state = {"layer": windows}, {"layer": states}

    def drawn(columns, x, mean, noise=1.0, **settings):
        if null is not None:
            mean = _constant(mean, columns, x, settings.get("maps", False))
        if null in ("noise", "smooth noise"):
            settings["noise"] = 30 * noise
        if null == "smooth noise":
            settings["correlation"] = 0.9
        return PlantedSource(columns, x, mean, **{"noise": noise, "tasks": few, **settings})

    by_window = {"edge": edges[:4], "window": [1, 3, 5, 7, 9, 11, 15]}

    def widened(model, task, edge, window, at):
        return knockout(model, task, edge, at, window)

    kinds = ["choose", "logical", "query", "compare"]
    groups = {"structural": kinds, "semantic": ["attr", "cat", "rel", "obj", "global"]}
    curves = {"prompt": ["p"], "pair": PAIRS, "quantity": ["corrected"]}
    prompts = {**curves, "prompt": ["p", "q"]}
    sources = {
        "answers": drawn({}, {}, lambda *_: 99.5, noise=2.0, **one),
        "accuracy": drawn({**groups, "detailed": ["d", "twoCommon", "positionQuery"]}, {}, accuracy, noise=5.0,
                          tasks=("accuracy",), **one),
        "flow": drawn({"edge": edges}, layer, knockout, noise=0.5, further={"sub_words": 2}, **flowing),
        "tracking": drawn({"word": ["lowercase answer", "capitalised answer", "false option",
                                    "capitalised false option"]}, state, lens, noise=0.02, **one),
        "windows": drawn(by_window, layer, widened, tasks=("ChooseAttr",), **one),
        "last-sub-word": drawn({"edge": edges[:4]}, layer, knockout, further={"sub_words": 2}, **one),
        "modules": drawn({"intervention": ["attention", "mlp"], "window": [9]}, layer, words, noise=0.02, **one),
        "norms": drawn({"patches": ["sinks"]}, {}, lambda *_: 3.3, noise=0.5, **one),
        "without-sinks": drawn({"edge": ["related patches without sinks -> question",
                                         "other patches without sinks -> question"]}, layer, knockout, **one),
        "pruning": drawn({"quantity": ["accuracy", "time", "image tokens", "question tokens"]},
                         {"layers_dropped": range(0, layers, layers // 8)}, pruned, noise=0.3, **one),
        "captions": drawn({"edge": ["caption -> last", "question -> last"]}, layer, knockout, **one),
        "fine-grained": drawn({"edge": fine}, layer, knockout, **by_part),
        "question-meaning": drawn({"intervention": ["image -> question"], "window": [9]}, layer, words, noise=0.02,
                                  **one),
        "similarity": drawn(prompts, state, similar, noise=0.01, **two),
        "thesis": drawn(prompts, state, thesis_similar, noise=0.01, **two),
        "output": drawn({"prompt": ["p"], "segment": ["image", "question", "last"],
                         "quantity": ["entropy", "agreement"]}, state, output, noise=0.5, **one),
        "attention": drawn({"edge": ["image -> question"], "quantity": ["share", "weight", "concentration"]}, layer,
                           attention, **one),
        "looks": drawn({"target": ["question"], "quantity": ["share"], "layer": range(3)}, {}, attended, maps=True,
                       noise=0.3, **one),
        "words": drawn({"instruction": ["correct", "wrong", "none"], "instruction_position": ["after", "before"],
                        "quantity": ["object", "shuffled"]}, state, decoded, noise=0.5, **one),
        "tokens": drawn({"prompt": ["describe", "shows"], "keep": ["spread"]},
                        {"tokens_requested": [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]}, loss, noise=0.05, **one),
        "occlusion": drawn({}, {}, occluded, maps=True, noise=0.1, **one),
    }  # fmt: skip
    for name, source in sources.items():
        source.name = name
    return sources


def _constant(mean, columns, x, maps):
    """The same mean everywhere: 0, or for maps the mean of their cells."""
    flat = mean("a", TASKS[0], *(values[0] for values in columns.values()), next(iter(x.values()))[0] if x else 0)
    value = np.full_like(flat, np.mean(flat)) if maps else 0.0
    return lambda *_: value


# What studies say of claims that need more than their name.
ENTRIES = {
    "F19": {"models": ["small"], "second_model": "a"},
    "F40": {"models": ["small"], "second_model": "a"},
    "F27-merged": {"where": {"window": 15}},
    "F36": {"second_model": "a"},
    "F37": {"second_model": "a"},
    **{name: {"where": {"prompt": "p"}} for name in "P01 P02 P03 P04 P05 P07 P09 P11".split()},
    **{name: {"where": {"prompt": "p"}, "probes": {"similarity": "thesis"}} for name in "T03 T04 T05 T06".split()},
    "T07": {"probes": {"similarity": "thesis"}, "against": {"prompt": "p"}, "values": {"prompt": ["q"]}},
    "T10": {"where": {"prompt": "describe"}},
    "T11": {"against": {"prompt": "describe"}, "values": {"prompt": ["shows"]}},
}


def entry(name: str) -> StudyClaim:
    """The entry of a study for a claim of the papers."""
    given = {"models": ["a"], **ENTRIES.get(name, {})}
    if name in ("F36", "F37"):
        given["models"] = ["reader"]
    if paper_claims()[name].pairs:
        del given["models"]
    return StudyClaim.model_validate(given)


class RowsSource(Source):
    """Given rows of knockouts, of one model and task.

    Args:
        rows: question_id, image_id, edge, layer, change.
    """

    by = ("edge", "layer")
    along = position = "layer"

    def __init__(self, rows: pl.DataFrame) -> None:
        self.given = rows.with_columns(value=pl.col("change"))

    def models(self):
        return ["a"]

    def tasks(self):
        return ["ChooseAttr"]

    def read(self, model, task):
        return self.given
