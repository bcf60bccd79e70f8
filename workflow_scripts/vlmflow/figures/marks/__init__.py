"""Drawing functions that charts share: each draws rows of a table and depends on no study and no probe."""
