"""Load a model, build prompts for it, and read its answers and states."""
