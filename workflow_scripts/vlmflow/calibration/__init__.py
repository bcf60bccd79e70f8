"""Models whose information flow is known."""
