"""Pin every package of each environment as the lock file does: the packages that its scripts import, and below them the
packages that these require.

    python envs/pin.py

It reads the requirements of installed packages, so the installed versions have to be those of the lock file.
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
    """Canonical name → text with name and version, for each package of a lock file or an environment."""
    matches = re.findall(r"^[\s-]*(([\w.-]+)==\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): line for line, name in matches}


def closure(names: set[str]) -> set[str]:
    """The packages with all packages that they require, directly or not, on Linux with the environments' Python."""
    known, pending = set(), {(name, "") for name in names}
    while pending:
        name, extra = pending.pop()
        known.add((name, extra))
        for line in required(name):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({**PYTHON, "extra": extra}):
                needed = {(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)}
                pending |= needed - known
    return {name for name, _ in known}


def required(name: str) -> list[str]:
    """The requirements of a package; none for packages that are not installed, such as those of torch's GPU build."""
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
