"""The images of COCO, which several datasets use."""

from typing import ClassVar

from pydantic import Field

from vlmflow.settings import Url

from .base import Dataset, ImageSource, OwnPath, UserPath

# The bucket of images.cocodataset.org, by the only name for which its certificate is valid.
COCO_URL = "https://s3.amazonaws.com/images.cocodataset.org"
FOLDER = "resources/coco"
# The end of an image's address, by the image's number.
VAL_2014 = "val2014/COCO_val2014_{number:012d}.jpg"
VAL_2017 = "val2017/{number:012d}.jpg"
# Other names of an image in a folder; an image has one number in all years and splits.
COCO_NAMES = ("{number:012d}", "COCO_val2014_{number:012d}", "COCO_train2014_{number:012d}")


class CocoDataset(Dataset):
    """A dataset about images of COCO, which are fetched one by one."""

    coco_url: Url = Field(COCO_URL, description="Address of the folder of COCO's single images.")
    images_dir: UserPath | None = Field(
        None, description="Folder of COCO's images, by number or own name, used in place."
    )

    # The end of an image's address.
    image_name: ClassVar[str]

    def addresses(self) -> dict[str, str]:
        """The address of single images, if they are fetched."""
        return {"COCO": self.coco_url} if self.images_dir is None else {}

    def image_source(self) -> ImageSource:
        """The user's folder, or single images by their addresses."""
        if self.images_dir is not None:
            return ImageSource(str(self.images_dir), names=COCO_NAMES)
        folder = f"{FOLDER}/{self.image_name.split('/')[0]}"
        return ImageSource(folder, self.coco_url, name=self.image_name, names=COCO_NAMES)

    def own_paths(self) -> list[OwnPath]:
        """The folder of images, if it is the user's."""
        return [OwnPath("images_dir", self.images_dir, "folder")] if self.images_dir is not None else []
