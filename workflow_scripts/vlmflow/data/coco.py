"""The images of COCO, which several datasets are about."""

from typing import ClassVar

from pydantic import Field

from vlmflow.settings import Url

from .base import Dataset, ImageSource, OwnPath, Place

# The bucket behind images.cocodataset.org, by the only name for which its certificate holds.
COCO_URL = "https://s3.amazonaws.com/images.cocodataset.org"
FOLDER = "resources/coco"
# How an address of an image ends, by the image's number.
VAL_2014 = "val2014/COCO_val2014_{number:012d}.jpg"
VAL_2017 = "val2017/{number:012d}.jpg"
# How else a folder may call an image: each has one number in all years and splits.
COCO_NAMES = ("{number:012d}", "COCO_val2014_{number:012d}", "COCO_train2014_{number:012d}")


class CocoDataset(Dataset):
    """A dataset about images of COCO, which are fetched one by one."""

    coco_url: Url = Field(COCO_URL, description="Where COCO's single images lie.")
    images_dir: Place | None = Field(None, description="Folder of COCO's images, by number or own name, used in place.")

    # How the address of an image ends.
    image_name: ClassVar[str]

    def addresses(self) -> dict[str, str]:
        """Where single images are taken from, if they are."""
        return {"COCO": self.coco_url} if self.images_dir is None else {}

    def image_source(self) -> ImageSource:
        """The user's folder, or single images by their addresses."""
        if self.images_dir is not None:
            return ImageSource(str(self.images_dir), names=COCO_NAMES)
        folder = f"{FOLDER}/{self.image_name.split('/')[0]}"
        return ImageSource(folder, self.coco_url, name=self.image_name, names=COCO_NAMES)

    def own_paths(self) -> list[OwnPath]:
        """The images, where they are the user's."""
        return [OwnPath("images_dir", self.images_dir, "folder")] if self.images_dir is not None else []
