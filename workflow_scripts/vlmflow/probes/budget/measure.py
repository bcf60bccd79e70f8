"""How many of the picture's tokens a model needs, and where they lie; [thesis]."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from vlmflow.errors import InterventionError, NotApplicableError, PromptError
from vlmflow.probes.answer_loss import Reference, intact_loss, loss_without, reference
from vlmflow.probes.context import Asking, Row
from vlmflow.probes.occlusion.measure import _without
from vlmflow.tables import ALL_TOKENS


def budget(
    asking: Asking,
    row: Row,
    *,
    prompts: Mapping[str, str],
    keep: Sequence[str],
    draws: int,
    leave_out: Callable[[str], None],
) -> pl.DataFrame:
    """Loss of the reference answer with 0, 1, 2, 4, … all of the picture's tokens.

    Args:
        asking: model and questions.
        row: of the question, with `token_ids` of what the model answered.
        prompts: name → text, see `Asking.worded`.
        keep: which are kept: first, spread, random.
        draws: of random tokens, over which the loss is averaged; the same for every prompt and run.
        leave_out: told of a prompt that this question does not have, and why.

    Returns:
        columns prompt, keep, number (of tokens that are asked for; −1: all), kept (how many these are), loss (nats a
        token).

    Raises:
        NotApplicableError: no prompt is left.
    """
    rows: list[dict] = []
    for name, text in prompts.items():
        try:
            asked = reference(asking.vlm, asking.worded(row, text), row["answer"], row["token_ids"])
            found = list(_losses(asking, asked, keep, draws, str(row["question_id"])))
        except (PromptError, InterventionError) as error:
            leave_out(f"prompt {name}: {error}")
            continue
        rows += [{"prompt": name} | each for each in found]
    if not rows:
        raise NotApplicableError("no prompt of the probe is left")
    return pl.DataFrame(rows, schema_overrides={"number": pl.Int32, "kept": pl.Int32}, infer_schema_length=None)


def _losses(asking: Asking, asked: Reference, keep: Sequence[str], draws: int, seed: str) -> Iterator[dict]:
    """Of one prompt: a row a way and number."""
    recording = asking.vlm.record(asked.prompt)
    image = asked.prompt.positions("image")
    whole = intact_loss(asking.vlm, asked, recording)
    none = loss_without(asking.vlm, asked, recording, image)
    for way in keep:
        yield {"keep": way, "number": 0, "kept": 0, "loss": none}
        for number in numbers(len(image)):
            losses = [
                loss_without(asking.vlm, asked, recording, _without(image, some))
                for some in chosen(way, number, len(image), draws, seed)
            ]
            yield {"keep": way, "number": number, "kept": number, "loss": float(np.mean(losses))}
        yield {"keep": way, "number": ALL_TOKENS, "kept": len(image), "loss": whole}


def numbers(tokens: int) -> list[int]:
    """1, 2, 4, … less than so many tokens."""
    return [2**power for power in range(max(0, tokens - 1).bit_length())]


def chosen(way: str, number: int, tokens: int, draws: int, seed: str) -> list[list[int]]:
    """Which of the picture's tokens are kept, numbers from 0; several draws where they are random."""
    if way == "first":
        return [list(range(number))]
    if way == "spread":
        # The middles of so many equal parts.
        return [[int((part + 0.5) * tokens / number) for part in range(number)]]
    rng = np.random.default_rng([*seed.encode(), number])
    return [sorted(rng.choice(tokens, size=number, replace=False).tolist()) for _ in range(draws)]
