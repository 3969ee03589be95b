"""Preference tuning: which of two stories for one brief is the better one, learnt through trl."""
