"""The conversation templates of the workflow; the folder chat_templates has their texts."""

from pathlib import Path

TEMPLATES = ("vicuna_v1", "llava_llama_3", "plain", "image_first")
CHAT_FOLDER = Path(__file__).parent / "chat_templates"
