"""The text of a study file, before its keys: what is no YAML, and keys that are given twice."""

import pytest

from support.paths import ROOT
from support.workspace import Workspace
from vlmflow.errors import StudyError
from vlmflow.study.yaml_text import check_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1,\n  d: 2, c: 3}\n", r"1 mistake\(s\):\n  b\.c: this key is given twice, in lines 2 and 3"),
        ("a: 1\nb:\n- {c: 1}\n- c: 2\n  c: 3\na: 4\n", r"2 mistake\(s\):\n  b\.1\.c: .*\n  a: .*in lines 1 and 6"),
        ("a: 1\n\tb: 2\n", r"line 2, column 1: this is not YAML \(found character '\\t'.*a tab in place of spaces"),
        ("a: {b: 1\nc: 2\n", r"line 2, column 2: this is not YAML \(expected ',' or '}'"),
        ("a: *x\n", r"this is not YAML \(found undefined alias"),
        ("a: \0\n", "this is not YAML .unacceptable character"),
        ("[" * 5000, "this is not YAML"),
        ("", "this has no keys; write it like config.yaml"),
        ("- a\n", "this has no keys"),
        ("caf\xe9: 1\n".encode("latin-1"), "this is no text in UTF-8"),
        (None, "this file cannot be read"),
    ],
)
def test_a_study_file_that_cannot_be_read_is_named_with_the_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError, match=message) as error:
        check_text(path)
    assert str(error.value).startswith(str(path))


def test_the_same_keys_under_an_anchor_are_no_mistake(tmp_path):
    (tmp_path / "s.yaml").write_text("x: &x {a: 1}\ny: {<<: *x, a: 2}\nz: [*x, *x]\n")
    check_text(tmp_path / "s.yaml")
    check_text(ROOT / "config.yaml")


def test_study_files_are_checked_before_any_job(tmp_path):
    workspace = Workspace(tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text.replace("    window: 3\n", "    window: 3\n    window: 5\n"))
    done = workspace.snakemake()
    assert done.returncode != 0
    assert "probes.flow.window: this key is given twice" in done.stdout + done.stderr
    assert "Job stats" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()
    # What is no YAML at all Snakemake refuses by itself.
    (tmp_path / "study.yaml").write_text("a: {b: 1\n")
    assert "Config file is not valid JSON or YAML" in workspace.snakemake().stderr
