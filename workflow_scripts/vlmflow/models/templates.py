"""The conversation templates of the workflow; the folder chat_templates has their texts."""

from pathlib import Path

# Templates with the text of another one, which they cut into tokens at the image, as LLaVA's published code does.
AS_PUBLISHED = {"vicuna_v1_as_published": "vicuna_v1", "llava_llama_3_as_published": "llava_llama_3"}
TEMPLATES = ("vicuna_v1", "llava_llama_3", *AS_PUBLISHED, "plain", "image_first")
CHAT_FOLDER = Path(__file__).parent / "chat_templates"


def template_file(name: str) -> Path:
    """The file with the text of a template: one of `TEMPLATES`, or the path of a user's own file."""
    return CHAT_FOLDER / f"{AS_PUBLISHED.get(name, name)}.jinja" if name in TEMPLATES else Path(name)
