"""The report: one page, its tables and the cost."""
