"""The libraries that draw interactive figures, as one script that every figure's page holds."""

from vlmflow.figures.save import javascript
from vlmflow.jobs.job import logged
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]), atomic_write(snakemake.output.libraries) as temporary:
    temporary.write_text(javascript(), encoding="utf-8")
