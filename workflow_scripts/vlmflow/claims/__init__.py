"""Claims: what papers say, as hypotheses about the means of probes, with intervals and verdicts."""
