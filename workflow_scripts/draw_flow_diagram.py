"""The diagram of the flow, all models side by side: interactive, SVG, PNG, and a narrow SVG and PDF."""

from pathlib import Path

from vlmflow.analysis.stages import STAGES
from vlmflow.figures.flow_diagram import draw_flow_diagram
from vlmflow.figures.save import save
from vlmflow.jobs.job import logged

with logged(snakemake.log[0]):
    stages = STAGES.read(snakemake.input.stages)
    libraries = Path(snakemake.input.libraries).read_text(encoding="utf-8")
    for path, columns in zip(snakemake.output, (6, 6, 6, 1, 1), strict=True):
        save(draw_flow_diagram(stages, snakemake.params.models, columns), path, libraries)
