"""docs/trouble.md quotes messages that the code really has."""

import ast
import re

from support.paths import ROOT

# Snakemake's own.
OTHERS = {
    "Directory cannot be locked",
    "Config file is not valid JSON or YAML",
    "Config file must be given as JSON or YAML with keys at top level",
}


def texts():
    """Every string in the code, those in several pieces as one, with … for what is put into them."""
    for path in sorted((ROOT / "workflow_scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]:
        yield re.sub(r"\{[^{}]*\}", "…", re.sub(r'"\s*f?"', "", path.read_text()))
    for path in sorted((ROOT / "workflow_scripts/vlmflow/report/templates").glob("*.html")):
        yield path.read_text().replace("\n", " ")


def quotes():
    """The messages in the first columns, and those of the last section."""
    text = (ROOT / "docs" / "trouble.md").read_text()
    yield from re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    yield from re.findall(r"`(No question[^`]+)`", text)


def test_quoted_messages_are_in_the_code():
    known = [*texts(), *OTHERS]
    found = list(quotes())
    assert len(found) > 45
    for quote in found:
        # What stands for anything may be a piece of the text itself, such as the rest of it.
        pattern = ".*".join(re.escape(part.strip()) for part in quote.split("…"))
        assert any(re.search(pattern, text) for text in known), quote


def test_the_readme_links_to_the_page_on_trouble():
    assert "(docs/trouble.md)" in (ROOT / "README.md").read_text()
