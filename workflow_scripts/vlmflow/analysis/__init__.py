"""Statistics of tables: intervals, summaries, and what curves show."""
