"""From a dataset's files to rows of the table `questions`, whatever the dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .gqa import read_questions
from .gqa_paper import read_paper_questions
from .pairs import read_coco_captions, read_winoground
from .vqa import read_a_okvqa, read_ok_vqa


def read_dataset(
    source: str, files: Mapping[str, str | Sequence[str]], prompt: str = ""
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables `questions` and `skipped`.

    Args:
        source: as in the study file.
        files: what each of its files is for → path, or paths.
        prompt: what is asked of every picture, where the dataset has captions in place of questions.
    """
    match source:
        case "gqa-paper":
            return read_paper_questions([Path(file) for file in files["questions"]])
        case "ok-vqa":
            return read_ok_vqa(Path(str(files["questions"])), Path(str(files["annotations"])))
        case "a-okvqa":
            return read_a_okvqa(Path(str(files["questions"])))
        case "coco-captions":
            return read_coco_captions(Path(str(files["questions"])), prompt)
        case "winoground":
            return read_winoground(Path(str(files["questions"])), Path(str(files["access"])), prompt)
    regions = files.get("regions")
    questions, graphs = _paths(files["questions"]), _paths(files["scene_graphs"])
    return read_questions(questions, graphs, Path(str(regions)) if regions else None)


def _paths(files: str | Path | Sequence[str]) -> list[Path]:
    return [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
