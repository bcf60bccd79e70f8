"""Archives, as servers have them."""

import io
import tarfile


def write_tar(path, members):
    """A compressed tar archive of files: name → content."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
