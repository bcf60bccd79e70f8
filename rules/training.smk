# The demo's model, trained from scratch; only made if the rule is named, never for the default target.


rule train_tiny_llava:
    output:
        model=directory("results/training/tiny-llava/model"),
        history="results/training/tiny-llava/history.parquet",
        scores="results/training/tiny-llava/scores.json",
    log:
        "results/training/tiny-llava/train.log",
    benchmark:
        "results/training/tiny-llava/train.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 2
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(60),
    params:
        # Not an output: this model is part of the repository, and only a complete training may replace it.
        folder="resources/tiny-llava",
        seed=0,
    script:
        "../workflow_scripts/train_tiny_llava.py"
