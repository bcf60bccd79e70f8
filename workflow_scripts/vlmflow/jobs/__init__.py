"""Everything around the work of a job: its log, lifetime, GPU lease, and estimates of its cost."""
