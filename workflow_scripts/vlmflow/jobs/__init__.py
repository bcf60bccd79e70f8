"""What surrounds the work of a job: log, lifetime, GPU lease, estimates."""
