"""The verdict on every claim of the study, as a table, a CSV file and a page."""

from vlmflow.claims.declared import StudyClaim
from vlmflow.claims.judge import CLAIMS, judge
from vlmflow.claims.opened import open_layers, open_sources
from vlmflow.claims.table import verdict_rows
from vlmflow.jobs.job import logged
from vlmflow.report.tables import claims_page
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    params = snakemake.params
    claims = {name: StudyClaim.model_validate(claim) for name, claim in params.claims.items()}
    layers = open_layers(params.models, snakemake.input.models)
    judged = judge(claims, open_sources(snakemake.input, params), layers, params.models)
    CLAIMS.write(judged, snakemake.output.claims)
    table = verdict_rows(judged)
    with atomic_write(snakemake.output.csv) as temporary:
        table.write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        temporary.write_text(claims_page(table, "Claims"), encoding="utf-8")
