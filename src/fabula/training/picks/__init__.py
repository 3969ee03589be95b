"""Picks: which of several sentences a reader would have next, learnt place by place."""
