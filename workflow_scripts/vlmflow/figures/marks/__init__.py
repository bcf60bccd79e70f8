"""The marks that charts share: each draws rows, and knows no study and no probe."""
