# The front door: read the study, include the rules, name the targets.
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))
from vlmflow.jobs.lifetime import begin_run
from vlmflow.jobs.snakemake import check_folder, quote_paths
from vlmflow.errors import FolderError
from vlmflow.study import read_study
from vlmflow.errors import StudyError
from vlmflow.study.yaml_text import check_text

try:
    check_folder(str(workflow.basedir))
    quote_paths(str(workflow.basedir), str(Path.cwd()))
except FolderError as error:
    raise WorkflowError(str(error))

# A study file replaces the default study whole; `configfile:` alone would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


try:
    for file in workflow.overwrite_configfiles or ["config.yaml"]:
        check_text(file)
    study = read_study(config, source=", ".join(map(str, workflow.overwrite_configfiles)) or "config.yaml")
except StudyError as error:
    raise WorkflowError(str(error))

if workflow.is_main_process and begin_run(Path(".snakemake")):
    logger.warning("An earlier run was killed; its locks are taken away, and its unfinished jobs are run again.")

RESULTS = f"results/{study.study}"


include: "rules/common.smk"


wildcard_constraints:
    task=one_of(study.tasks),
    model=one_of(study.models),
    probe=one_of(study.probes),
    figure=one_of(study.figures),
    table=one_of(study.tables),


include: "rules/download.smk"
include: "rules/data.smk"
include: "rules/model.smk"
include: "rules/summary.smk"
include: "rules/figures.smk"
include: "rules/training.smk"
include: "rules/ending.smk"


rule all:
    default_target: True
    input:
        report=f"{RESULTS}/index.html",
        access=ACCESS_FILES,
