"""The digest of the code that measures: a changed probe changes its own digest, and nothing that measures is missed."""

import shutil
import sys

import pytest

from support.noise import noise_image
from vlmflow.probes import PROBES
from vlmflow.probes.address import ANSWERING, probing_modules
from vlmflow.probes.lens.measure import lens
from vlmflow.store import code


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that can be changed."""
    copy = tmp_path / "vlmflow"
    shutil.copytree(code.LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "LIBRARY", copy)
    forget()
    yield copy
    forget()


def forget():
    for function in (code.code_digest, code._imported, code._facts, code._known):
        function.cache_clear()


def digests():
    forget()
    return {probe.kind_name(): code.code_digest(*probing_modules(probe)) for probe in PROBES} | {
        "answers": code.code_digest(*ANSWERING)
    }


def test_what_is_known_of_a_module_is_kept_for_later_processes(library, monkeypatch):
    monkeypatch.setattr(code.sys, "dont_write_bytecode", False)
    first = digests()
    monkeypatch.setattr(code.ast, "parse", None)
    assert digests() == first
    code._cache_file().write_text("not JSON")
    with pytest.raises(TypeError):
        digests()


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def append(path, text):
    path.write_text(path.read_text() + text)


def test_a_changed_probe_concerns_that_probe(library):
    before = digests()
    append(library / "probes/lens/measure.py", "\nCHANGED = 1\n")
    assert changed(before, digests()) == {"lens"}


def test_a_changed_engine_concerns_every_measurement(library):
    before = digests()
    append(library / "engine/record.py", "\nCHANGED = 1\n")
    assert changed(before, digests()) == set(before)


@pytest.mark.parametrize("path", ["analysis/bootstrap.py", "figures/base.py", "report/page.py", "jobs/job.py"])
def test_what_does_not_measure_concerns_none(library, path):
    before = digests()
    append(library / path, "\nCHANGED = 1\n")
    assert changed(before, digests()) == set()


def test_comments_docstrings_and_layout_do_not_count(library):
    before = digests()
    path = library / "probes/lens/measure.py"
    text = path.read_text()
    first, rest = text.split("\n", 1)
    path.write_text(f'"""Another docstring."""\n# A comment.\n\n\n{rest}' if first.count('"""') == 2 else text)
    assert path.read_text() != text
    assert changed(before, digests()) == set()


def test_an_import_inside_of_a_function_counts(library):
    before = digests()
    append(library / "probes/lens/measure.py", "\ndef later():\n    from vlmflow.new import thing\n    return thing\n")
    (library / "new.py").write_text("thing = 1\n")
    first = digests()
    (library / "new.py").write_text("thing = 2\n")
    assert changed(before, first) == changed(first, digests()) == {"lens"}


def test_every_module_that_a_measurement_runs_is_in_its_digest(tiny_llava, monkeypatch):
    """Checked by running one: what it calls of the library is in the files of the digest."""
    called = set()
    prompt = tiny_llava.prompt(noise_image(40, 0), "what color is the circle , red or blue ?")

    def trace(frame, event, _):
        called.add(frame.f_code.co_filename)

    sys.setprofile(trace)
    try:
        lens(tiny_llava, prompt, {"answer": "red"})
    finally:
        sys.setprofile(None)
    ours = {path for path in called if path.startswith(str(code.LIBRARY))}
    kind = next(probe for probe in PROBES if probe.kind_name() == "lens")
    assert len(ours) > 3
    assert ours <= {str(path) for path in code._closure(probing_modules(kind))}
