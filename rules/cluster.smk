# What a cluster needs to know besides each rule's resources; on one machine all of this is left out.


# Seconds each and little memory: not worth a place in the queue.
localrules:
    draw_sample,
    summarise_answers,
    collect_skipped,
    summarise_cost,
    tabulate_tasks,
    tabulate_landmarks,


def cluster_says(name):
    """A setting of the profile's `default-resources`; None where there is none."""
    setting = (workflow.resource_settings.default_resources or {}).get(name)
    # Of a setting that is not there, Snakemake may give one without a value.
    return None if setting is None or setting.raw is None else str(setting.raw).strip("'\"")


def partition(wildcards):
    """Where jobs of a model run: with GPUs and without may be two places."""
    return (gpus(wildcards) and cluster_says("gpu_partition")) or cluster_says("slurm_partition")


def gpu_type(wildcards):
    """Which GPUs a model's jobs take; nothing for those without, which would otherwise be given one."""
    return cluster_says("gpu_type") if gpus(wildcards) else None
