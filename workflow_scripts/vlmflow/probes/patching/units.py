"""The independent units of patches: images that are donors of each other count as one."""

import polars as pl


def with_units(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of patches with the id of their unit as `image_id`: resampling and halves then keep together what is not
    independent, such as both directions of one pair.

    Args:
        rows: question_id, image_id, donor, and others.
    """
    pairs = rows.select("question_id", "image_id", "donor").unique(maintain_order=True)
    image_of = dict(pairs.select("question_id", "image_id").iter_rows())
    unit = {image: image for image in image_of.values()}

    def find(image: str) -> str:
        while unit[image] != image:
            image = unit[image]
        return image

    for question, donor in pairs.select("question_id", "donor").iter_rows():
        if donor in image_of:  # else its own measurement was skipped, and no other row has its image
            first, second = sorted((find(image_of[question]), find(image_of[donor])))
            unit[second] = first
    units = {image: find(image) for image in unit}
    return rows.with_columns(pl.col("image_id").replace_strict(units, return_dtype=pl.String))
