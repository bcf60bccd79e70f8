# Claims, judged on the rows of probes and on answers; the stages of the flow; and the numbers that a paper prints,
# beside those of a study.
from vlmflow.claims.sources import ANSWERS_ROLE
from vlmflow.claims.stages import has_stages
from vlmflow.study.claims import sources_of_claims

# What claims are judged on: probes, accuracy tables, and the models' own answers.
CLAIM_SOURCES = sources_of_claims(study)
CLAIM_PROBES = [name for name in CLAIM_SOURCES if name in study.probes]
CLAIM_TABLES = [name for name in CLAIM_SOURCES if name in study.accuracy_tables and name in SHOWN_TABLES]
CLAIM_ANSWERS = ANSWERS_ROLE in CLAIM_SOURCES

# What claims and targets are judged on, and whose rows the files have.
CLAIM_FILES = dict(
    rows=[path for probe in CLAIM_PROBES for path in get_shards(get_probe_models(probe), probe)],
    answers=get_shards(MODELS, "answers") if CLAIM_ANSWERS else [],
    table_answers=[path for table in CLAIM_TABLES for path in get_table_shards(table)],
    table_questions=expand(f"{RESULTS}/tables/{{table}}/asked.parquet", table=CLAIM_TABLES),
    models=expand(f"{RESULTS}/{{model}}/model.parquet", model=MODELS),
)
CLAIM_PARAMS = dict(
    probes={probe: study.probes[probe].model_dump(mode="json") for probe in CLAIM_PROBES},
    tasks={probe: study.tasks_of(probe) for probe in CLAIM_PROBES},
    rows=[(probe, model) for probe in CLAIM_PROBES for model in get_models_of_shards(get_probe_models(probe))],
    models=MODELS,
    answered=get_models_of_shards(MODELS) if CLAIM_ANSWERS else [],
    answered_tasks=list(study.tasks),
    tables=[(table, study.tables[table].model) for table in CLAIM_TABLES for _ in get_table_shards(table)],
)


rule judge_claims:
    input:
        **CLAIM_FILES,
    output:
        claims=f"{RESULTS}/summary/claims.parquet",
        csv=f"{RESULTS}/tables/claims.csv",
        html=report(
            f"{RESULTS}/tables/claims.html",
            caption="../workflow_scripts/captions/claims.rst",
            category="Tables",
            labels={"table": "claims"},
        ),
    log:
        f"{RESULTS}/logs/judge_claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge_claims.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(60),
    params:
        **CLAIM_PARAMS,
        claims={name: claim.model_dump(mode="json") for name, claim in study.claims.items()},
    script:
        "../workflow_scripts/judge_claims.py"


# The knockouts from which the stages of the flow are read.
STAGE_PROBES = [probe for probe in study.probes if has_stages(study.probes[probe]) and get_probe_models(probe)]


rule find_stages:
    input:
        rows=[path for probe in STAGE_PROBES for path in get_shards(get_probe_models(probe), probe)],
        models=expand(f"{RESULTS}/{{model}}/model.parquet", model=MODELS),
    output:
        stages=f"{RESULTS}/summary/stages.parquet",
        csv=f"{RESULTS}/tables/stages.csv",
    log:
        f"{RESULTS}/logs/find_stages.log",
    benchmark:
        f"{RESULTS}/benchmarks/find_stages.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(60),
    params:
        probes={probe: study.probes[probe].model_dump(mode="json") for probe in STAGE_PROBES},
        tasks={probe: study.tasks_of(probe) for probe in STAGE_PROBES},
        rows=[(probe, model) for probe in STAGE_PROBES for model in get_models_of_shards(get_probe_models(probe))],
        models=MODELS,
    script:
        "../workflow_scripts/find_stages.py"


# Not part of any other target: `snakemake --configfile studies/flow.yaml --cores 1 check_targets`.
rule check_targets:
    input:
        **CLAIM_FILES,
    output:
        csv=f"{RESULTS}/tables/targets.csv",
    log:
        f"{RESULTS}/logs/check_targets.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_targets.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(60),
    params:
        **CLAIM_PARAMS,
        study=study.study,
    script:
        "../workflow_scripts/check_targets.py"
