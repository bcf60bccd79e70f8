"""Statistics of tables: intervals, summaries, phases and knees of curves."""
