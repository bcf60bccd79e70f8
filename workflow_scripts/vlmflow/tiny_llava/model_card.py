"""The model card: data, recipe, seconds and accuracy as measured in the run that made the weights."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .lessons import TASKS
from .training import History, Recipe


def model_card(result: dict[str, Any], recipe: Recipe, history: History) -> str:
    """The Markdown text of `README.md`, beside the weights."""
    loader = PackageLoader("vlmflow.tiny_llava")
    template = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True).get_template("model_card.md")
    return template.render(result=result, recipe=recipe, steps=history.steps, tasks=TASKS)
