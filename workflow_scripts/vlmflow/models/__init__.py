"""Load a model, and ask it."""
