"""The verdict on every claim of the study, as a table, a CSV file and a page."""

from pydantic import TypeAdapter

from vlmflow.claims.declared import StudyClaim
from vlmflow.claims.judge import CLAIMS, judge
from vlmflow.claims.sources import ANSWERS_ROLE, AnswerSource, ProbeSource, Source
from vlmflow.claims.table import verdict_rows
from vlmflow.jobs.job import logged
from vlmflow.probes import AnyProbe
from vlmflow.report.tables import claims_page
from vlmflow.tables import MODEL, atomic_write


def files_by(names: list, paths: list[str]) -> dict:
    """Name → its files."""
    found: dict = {}
    for name, path in zip(names, paths, strict=True):
        found.setdefault(name, []).append(path)
    return found


with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    rows = files_by([tuple(each) for each in params.rows], source.rows)
    sources: dict[str, Source] = {}
    for name, settings in params.probes.items():
        files = {model: paths for (probe, model), paths in rows.items() if probe == name}
        sources[name] = ProbeSource(TypeAdapter(AnyProbe).validate_python(settings), files, params.tasks[name])
    if params.answered:
        files = files_by(params.answered, source.answers)
        sources[ANSWERS_ROLE] = AnswerSource(files, params.answered_tasks)
    questions = dict(zip(dict.fromkeys(table for table, _ in params.tables), source.table_questions, strict=True))
    for (table, model), paths in files_by([tuple(each) for each in params.tables], source.table_answers).items():
        sources[table] = AnswerSource({model: paths}, [table], questions[table])
    layers = {model: MODEL.read(path)["layers"][0] for model, path in zip(params.models, source.models, strict=True)}
    claims = {name: StudyClaim.model_validate(claim) for name, claim in params.claims.items()}
    judged = judge(claims, sources, layers, params.models)
    CLAIMS.write(judged, snakemake.output.claims)
    table = verdict_rows(judged)
    with atomic_write(snakemake.output.csv) as temporary:
        table.write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        temporary.write_text(claims_page(table, "Claims"), encoding="utf-8")
