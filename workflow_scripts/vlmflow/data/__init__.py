"""Raw files become questions."""
