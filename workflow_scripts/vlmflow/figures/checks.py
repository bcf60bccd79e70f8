"""Checks that several charts share."""


def check_edges(edges: list[str], measured: list[str], figure: str, probe_name: str) -> None:
    """Check that the probe measures the edges that a figure shows.

    Raises:
        ValueError: it does not measure one of them.
    """
    for edge in edges:
        if edge not in measured:
            raise ValueError(
                f"figures.{figure}.edges: {edge!r} is not measured by the probe {probe_name!r}; add it to "
                f"probes.{probe_name}.edges"
            )
