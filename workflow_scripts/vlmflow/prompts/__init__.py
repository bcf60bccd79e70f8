"""Question and image become model inputs and token positions."""
