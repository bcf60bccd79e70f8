"""Record a forward, and replay interventions on it."""
