"""Archives, as servers have them."""

import io
import tarfile
import zipfile


def write_tar(path, members):
    """A compressed tar archive of files: name → content."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_gqa_archives(folder, gqa):
    """GQA's three archives, as its server has them, of a folder that `paper_rows.write_gqa` wrote."""
    folder.mkdir(parents=True)
    for name, file, member in (
        ("questions1.2.zip", "questions.json", "val_balanced_questions.json"),
        ("sceneGraphs.zip", "sceneGraphs.json", "val_sceneGraphs.json"),
    ):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.write(gqa / file, member)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for image in sorted((gqa / "images").iterdir()):
            archive.write(image, f"images/{image.name}")
