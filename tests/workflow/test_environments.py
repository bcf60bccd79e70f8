"""Every rule's environment holds what its script imports, and pins what the lock file pins."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain

import pytest
import yaml
from packaging import version
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "envs"))
import pin

SCRIPTS = ROOT / "workflow_scripts"
RULE = re.compile(r'conda:\s+"\.\./envs/(\w+\.yaml)".*?script:\s+"\.\./workflow_scripts/(\w+\.py)"', re.DOTALL)


def pins(text):
    found = {}
    for line in text.splitlines():
        name, equals, version = line.strip().removeprefix("- ").partition("==")
        if equals:
            found[name.lower().replace("_", "-")] = version
    return found


def uses():
    """(environment, script) of every rule."""
    pairs = {pair for path in sorted((ROOT / "rules").glob("*.smk")) for pair in RULE.findall(path.read_text())}
    return sorted(pairs)


def imported(path, seen):
    """Top-level names of the packages that a file, and what it imports of the library, import while they load.

    What stands inside of a function, or only for type checkers, may never be asked for.
    """
    if path in seen:
        return set()
    seen.add(path)
    names = set()
    pending = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.If):
            continue
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [resolve(path, node)]
            modules += [f"{modules[0]}.{alias.name}" for alias in node.names if modules[0].startswith("vlmflow")]
        else:
            continue
        for module in modules:
            if module.split(".")[0] != "vlmflow":
                names.add(module.split(".")[0])
                continue
            place = SCRIPTS / module.replace(".", "/")
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file():
                    names |= imported(file, seen)
    return names


def resolve(path, node):
    """The full name of what `from … import` speaks of."""
    if not node.level:
        return node.module
    package = path.relative_to(SCRIPTS).parent.parts
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def test_every_script_belongs_to_a_rule():
    assert {script for _, script in uses()} == {path.name for path in SCRIPTS.glob("*.py")}


@pytest.mark.parametrize(("environment", "script"), uses())
def test_environments_hold_what_scripts_import(environment, script):
    have = pins((ROOT / "envs" / environment).read_text())
    distributions = packages_distributions()
    needed = imported(SCRIPTS / script, set()) - set(sys.stdlib_module_names) - {"snakemake"}
    assert needed
    names = {name: {d.lower().replace("_", "-") for d in distributions[name]} for name in needed}
    missing = {name for name, options in names.items() if not any(option in have for option in options)}
    assert not missing, f"{environment} lacks {', '.join(sorted(missing))} for {script}"


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.name)
def test_environments_pin_what_the_lock_file_pins(path):
    locked = pins((ROOT / "constraints.txt").read_text())
    wanted = pins(path.read_text())
    assert wanted
    assert {name: locked[name] for name in wanted} == wanted


def environments():
    return sorted((ROOT / "envs").glob("*.yaml"))


@pytest.mark.parametrize("path", environments(), ids=lambda path: path.name)
def test_environments_pin_what_their_packages_bring_along(path):
    """As `python envs/pin.py` writes it."""
    text = path.read_text()
    assert pin.pinned(text, pin.pins((ROOT / "constraints.txt").read_text())) == text


def test_pins_are_brought_up_to_date():
    """The check has teeth: what is missing is added, another version is replaced."""
    locked = pin.pins((ROOT / "constraints.txt").read_text())
    text = (ROOT / "envs" / "data.yaml").read_text()
    broken = (
        text.replace("idna==", "idna==0").replace(f"      - {locked['certifi']}\n", "").replace("tqdm==", "tqdm==0")
    )
    assert broken.count("\n") == text.count("\n") - 1
    assert pin.pinned(broken, locked) == text


@pytest.mark.parametrize("path", environments(), ids=lambda path: path.name)
def test_python_comes_from_conda_forge_and_the_rest_from_pip(path):
    """Snakemake hands Python's own packages to pip: the same files as in an installation without conda."""
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    python, own, rest = environment["dependencies"]
    assert (python, own) == (f"python={pin.PYTHON['python_full_version']}", "pip=25.3")
    assert set(rest) == {"pip"}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in rest["pip"])
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version.Version(pin.PYTHON["python_full_version"]) in SpecifierSet(lowest)


def test_every_dependency_is_locked():
    locked = pins((ROOT / "constraints.txt").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = Requirement(requirement).name.lower().replace("_", "-")
        assert name in locked, name
