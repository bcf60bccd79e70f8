"""As much of processors as image layouts read, one or more for each way in which an image becomes tokens."""

from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil, LlavaNextImageProcessorPil

SIDE, PATCH = 48, 8
GRIDS = [[48, 96], [96, 48], [96, 96], [144, 48], [48, 144]]
SHAPE = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}


class Processor:
    """Of LLaVA's kind, with any image processor."""

    patch_size = PATCH
    num_additional_image_tokens = 0

    def __init__(self, images, **settings):
        self.image_processor = images
        self.__dict__ |= settings


class QueryTokensProcessor:
    """As InstructBLIP's."""

    num_query_tokens = 32


KINDS = {
    "crop": Processor(CLIPImageProcessorPil(**SHAPE)),
    "pad": Processor(LlavaImageProcessorPil(**SHAPE, do_pad=True)),
    "any resolution": Processor(LlavaNextImageProcessorPil(**SHAPE, image_grid_pinpoints=GRIDS)),
}
