"""Load a model's processor, with a conversation template and a way to fit an image into a square."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, LlavaImageProcessorPil
from transformers.utils import is_torchvision_available

from vlmflow.errors import ProcessorError, ProcessorMismatchError
from vlmflow.prompts.cut_at_image import CUT_AT_IMAGE

from .agreement import complete_processor
from .diagnose import diagnose_model
from .templates import AS_PUBLISHED, TEMPLATES, template_file
from .unused_parts import load_without_unused_parts


def load_processor(path: str | Path, *, revision: str | None = None, template: str = "own", fit: str = "own") -> Any:
    """The model's processor; it cuts images with PIL, so that every machine cuts them in the same way.

    Args:
        path: a folder or a hub id.
        revision: branch, tag or commit of a hub id.
        template: the conversation around the question: "own", one of `TEMPLATES`, or a .jinja file.
        fit: how an image that is not square is fitted into a square: "own" (as the processor does it), "pad" (on a
            square of the mean colour, as LLaVA-1.5 was trained) or "crop" (its middle).

    Raises:
        ProcessorError: there is no processor or no such template; or the processor cannot fit images in this way, needs
            a package that is not installed, or contradicts the model's configuration.
    """
    try:
        processor = load_without_unused_parts(path, revision)
        for setting in ("truncation_strategy", "max_length"):
            # A tokenizer that was saved with truncation would cut prompts.
            processor.tokenizer.init_kwargs.pop(setting, None)
        if not Path(path).is_dir() or (Path(path) / "config.json").is_file():
            config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
            complete_processor(processor, config, path, revision)
    except ProcessorMismatchError as error:
        raise ProcessorError(f"{path}: {error}") from error
    except Exception as error:  # with a broken file the library may fail anywhere
        why = _torchvision_message(error) or diagnose_model(path, error)
        raise ProcessorError(f"{path}: no processor could be loaded: {why}") from error
    if template != "own":
        processor.chat_template = _read_template(template)
    elif processor.chat_template is None:
        raise _template_error(path)
    if fit != "own":
        processor.image_processor = _fitting_image_processor(processor, fit, path)
    return processor


def _torchvision_message(error: Exception) -> str | None:
    """What to install for a processor that cuts images with torchvision only; None if this is not the cause."""
    if is_torchvision_available() or "torchvision" not in str(error).lower():
        return None
    return (
        "it cuts images with torchvision, which is not installed; install it with "
        "`pip install -c constraints.txt -e '.[torchvision]'`"
    )


@dataclass
class TextProcessor:
    """A language model's tokenizer, as a processor without images."""

    tokenizer: Any
    chat_template: str | None = None

    def apply_chat_template(self, messages: list[dict[str, Any]], add_generation_prompt: bool = False) -> str:
        """The conversation as text; messages are lists of parts, as for models that also read images."""
        if self.chat_template is None:
            # The templates of language models take strings.
            messages = [m | {"content": "".join(part["text"] for part in m["content"])} for m in messages]
        return self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.chat_template,
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
        )


def load_text_processor(path: str | Path, *, revision: str | None = None, template: str = "own") -> TextProcessor:
    """The tokenizer of a language model, with the same conversation templates as `load_processor`.

    Raises:
        ProcessorError: there is no tokenizer, or it has no template of its own and none is given.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
    except Exception as error:
        raise ProcessorError(f"{path}: no tokenizer could be loaded: {diagnose_model(path, error)}") from error
    if template == "own" and tokenizer.chat_template is None:
        raise _template_error(path)
    return TextProcessor(tokenizer, None if template == "own" else _read_template(template))


def _template_error(path: str | Path) -> ProcessorError:
    return ProcessorError(
        f"{path}: this model has no conversation template of its own; give template: {', '.join(TEMPLATES)}, or a "
        ".jinja file"
    )


def _read_template(name: str) -> str:
    """The text of a template, which is a template of `transformers` by itself.

    Raises:
        ProcessorError: there is no such template.
    """
    try:
        text = template_file(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ProcessorError(f"template {name!r}: {error}; choose from own, {', '.join(TEMPLATES)}") from error
    return f"{CUT_AT_IMAGE}\n{text}" if name in AS_PUBLISHED else text


def _fitting_image_processor(processor: Any, fit: str, path: str | Path) -> Any:
    """The processor's image processor with padding instead of cropping, or with cropping instead of padding."""
    own = getattr(processor, "image_processor", None)
    if own is None or not hasattr(own, "crop_size") or hasattr(own, "image_grid_pinpoints"):
        raise ProcessorError(
            f"{path}: fit {fit!r} is for processors that give the model one square of the image, such as "
            f"that of LLaVA-1.5; {type(processor).__name__} cuts images in another way, so remove this key"
        )
    kept = ("size", "crop_size", "image_mean", "image_std", "resample", "rescale_factor", "do_rescale", "do_normalize")
    settings = {name: getattr(own, name) for name in kept}
    return LlavaImageProcessorPil(**settings, do_resize=True, do_center_crop=True, do_pad=fit == "pad")
