"""Ways in which an image becomes tokens."""
