"""Write into each environment, under the packages that its scripts import, every package that these bring along, all
pinned as the lock file pins them.

    python envs/pin.py

It reads what packages require from those that are installed, so it is run where the lock file's versions are.
"""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON = {
    "python_version": "3.12",
    "python_full_version": "3.12.12",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
HERE = Path(__file__).parent
BROUGHT_ALONG = "      # What these bring along."


def pins(text: str) -> dict[str, str]:
    """Canonical name → line with name and version, of a lock file or an environment."""
    found = re.findall(r"^[\s-]*(([\w.-]+)==\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): line for line, name in found}


def closure(names: set[str]) -> set[str]:
    """The packages with all that they require, and what that requires, on Linux and the environments' Python."""
    found, pending = set(), {(name, "") for name in names}
    while pending:
        name, extra = pending.pop()
        found.add((name, extra))
        for line in required(name):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({**PYTHON, "extra": extra}):
                wanted = {(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)}
                pending |= wanted - found
    return {name for name, _ in found}


def required(name: str) -> list[str]:
    """What a package requires; nothing is known of those that only the GPU's build of torch needs."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def pinned(text: str, locked: dict[str, str]) -> str:
    """An environment with all of its packages pinned; those above `BROUGHT_ALONG` are its own."""
    own, _, _ = text.partition(BROUGHT_ALONG + "\n")
    names = set(pins(own))
    lines = [f"      - {locked[name]}" for name in sorted(closure(names) - names)]
    lines = "\n".join([own.rstrip("\n"), BROUGHT_ALONG, *lines]) + "\n"
    return re.sub(r"([\w.-]+)==\S+", lambda match: locked[canonicalize_name(match[1])], lines)


def main() -> None:
    """Bring all environments up to date."""
    locked = pins((HERE.parent / "constraints.txt").read_text())
    for path in sorted(HERE.glob("*.yaml")):
        path.write_text(pinned(path.read_text(), locked))


if __name__ == "__main__":
    main()
