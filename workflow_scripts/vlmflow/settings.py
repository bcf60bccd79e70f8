"""The base class and the field types of the study file: unknown keys are refused, and values are checked."""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from vlmflow.edges import ALL_EDGES, Edge, EdgeGroup

# Names that files and folders of the results have.
RESERVED = set(
    "training candidates tasks summary figures tables patches sheets answers selected skipped logs benchmarks "
    "questions model store claims".split()
)


class Strict(BaseModel):
    """The base class of all parts of the study file: unknown keys are refused, and old names with the new ones.

    Attributes:
        renamed_keys: old key → its name now.
        renamed_values: key → old value → its name now.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed_keys: ClassVar[dict[str, str]] = {}
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _no_old_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for old, new in cls.renamed_keys.items():
            if old in given:
                raise ValueError(f"{old}: this key is now called {new}")
        for key, names in cls.renamed_values.items():
            for value in _as_list(given.get(key)):
                if isinstance(value, str) and value in names:
                    raise ValueError(f"{key}: {value} is now called {names[value]}")
        return given


def _check_name(name: str, allowed: str = "A-Za-z0-9_-") -> str:
    if not re.fullmatch(rf"[A-Za-z0-9][{allowed}]*", name):
        raise ValueError(f"name {name!r}: use letters, digits, '-' and '_' (it becomes the name of a file)")
    if name in RESERVED or name.endswith("-narrow"):
        raise ValueError(f"name {name!r} is taken by a file or folder of the results; choose another one")
    return name


def _check_model_name(name: str) -> str:
    return _check_name(name, allowed="A-Za-z0-9_.-")  # versions have dots


def _check_edge(text: str) -> str:
    return str(Edge.parse(text))


def _check_edge_group(text: str) -> str:
    return str(EdgeGroup.parse(text))


def _check_window(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"{window} is even; a window reaches equally far to both sides of its layer, so make it odd")
    return window


def _check_url(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ValueError(f"{url!r} is not a web address; write it as https://…")
    return url.rstrip("/")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _expanded(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise ValueError(f"{value!r}: give a list of edges, or the word all")
    return list(ALL_EDGES) if value == "all" else value


def each_once(what: str) -> Callable[[list], list]:
    """A check that no entry is in a list twice; the message calls an entry `what`."""

    def check(values: list) -> list:
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{what} {value!r} is given {values.count(value)} times; give it once")
        return values

    return check


Name = Annotated[str, AfterValidator(_check_name)]
ModelName = Annotated[str, AfterValidator(_check_model_name)]
Url = Annotated[str, AfterValidator(_check_url)]
HUB_ID = r"\w[\w.-]*/\w[\w.-]*"
Revision = Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
EdgeText = Annotated[str, AfterValidator(_check_edge)]
EdgeGroupText = Annotated[str, AfterValidator(_check_edge_group)]
_Text = TypeVar("_Text", bound=str)
_EdgeList = Annotated[
    list[_Text],
    Field(min_length=1),
    AfterValidator(each_once("edge")),
    BeforeValidator(_expanded, json_schema_input_type=list[str] | Literal["all"]),
]
Edges = _EdgeList[EdgeText]
EdgeGroups = _EdgeList[EdgeGroupText]
Window = Annotated[int, Field(ge=1), AfterValidator(_check_window)]


class WindowShare(Strict):
    """A window as a share of the model's depth, so that models of different depth have comparable windows."""

    share: float = Field(gt=0, le=1, description="Of the layers; the window has the nearest odd number of layers.")

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of the layers"


def window_size(window: int | WindowShare, layers: int) -> int:
    """The number of layers of a window in a model of `layers` layers."""
    if isinstance(window, int):
        return window
    return 2 * max(0, int((window.share * layers - 1) / 2 + 0.5)) + 1


# A window is a number of layers, or a share of them; a number has the tag "[layers]".
WINDOW_KIND = Discriminator(lambda given: "[share]" if isinstance(given, dict | WindowShare) else "[layers]")
TaggedShare = Annotated[WindowShare, Tag("[share]")]


def _share_alone(windows: list[int | WindowShare]) -> list[int | WindowShare]:
    if len(windows) > 1 and any(isinstance(window, WindowShare) for window in windows):
        raise ValueError("a share of the layers cannot be one of several windows; make a probe of its own for it")
    return windows


# One window, or several, which share one recording; or one share of the depth.
Windows = Annotated[
    list[Annotated[Annotated[Window, Tag("[layers]")] | TaggedShare, WINDOW_KIND]],
    Field(min_length=1),
    AfterValidator(each_once("window")),
    AfterValidator(_share_alone),
    BeforeValidator(_as_list, json_schema_input_type=int | list[int] | WindowShare),
]
