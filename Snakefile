# The entry point: read the study, include the rules, name the targets.
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.1")

# Not `workflow.basedir`: if another workflow imports this one as a module, that is the other one's folder.
sys.path.insert(0, str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)) / "workflow_scripts"))
from vlmflow.jobs import handlers
from vlmflow.jobs.lifetime import register_run
from vlmflow.jobs.quoting import check_folder, quote_paths
from vlmflow.jobs.snakemake import Invocation, evaluate_params_at_start, explained_by_snakemake, warn
from vlmflow.study.checks import check_study
from vlmflow.study.paths import with_models_of
from vlmflow.study.yaml_text import open_study

invocation = Invocation(workflow)

with explained_by_snakemake():
    check_folder(str(invocation.home))
    quote_paths(str(invocation.home), str(Path.cwd()))

# A study file replaces the default study completely; with `configfile:` alone, Snakemake would merge the two.
if invocation.wants_default_study:

    configfile: "config.yaml"


with explained_by_snakemake():
    study = open_study(with_models_of(config, invocation.home), invocation.study_files)

evaluate_params_at_start()

if invocation.is_main_process and register_run(Path(".snakemake")):
    warn("An earlier run was killed; its locks are removed, and its unfinished jobs run again.")

RESULTS = f"results/{study.study}"


include: "rules/common.smk"
include: "rules/common_datasets.smk"


wildcard_constraints:
    task=get_wildcard_pattern(study.tasks),
    model=get_wildcard_pattern(study.models),
    probe=get_wildcard_pattern(study.probes),
    figure=get_wildcard_pattern(study.figures),
    table=get_wildcard_pattern(study.tables),
    shard=r"\d+-of-\d+",


include: "rules/download.smk"
include: "rules/data.smk"
include: "rules/model.smk"
include: "rules/summary.smk"
include: "rules/claims.smk"
include: "rules/explorer.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/report.smk"
include: "rules/training.smk"


# With the report as the only target, deleted figures, tables and sheets would not be made again.
rule all:
    default_target: True
    input:
        **SHOWN_FILES,
        report=f"{RESULTS}/index.html",
        states=EXPORTED_STATES,
        access=ACCESS_FILES,


if invocation.is_main_process:
    with explained_by_snakemake():
        check_study(study, invocation.makes, invocation.gpu_limit)


onstart:
    handlers.start(invocation, f"{RESULTS}/index.html")


onsuccess:
    handlers.succeed(invocation, f"{RESULTS}/index.html")


onerror:
    handlers.fail(invocation, study.models)
