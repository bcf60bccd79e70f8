"""From a question and an image to model inputs and token positions."""
