"""The demo's model: a real LLaVA of 2.4 million parameters, built and trained from scratch."""
