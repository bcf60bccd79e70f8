"""Sentences that the captions of several charts share."""

INTERVALS = "Lines: mean over questions. Bands: 95 % bootstrap interval over images."
