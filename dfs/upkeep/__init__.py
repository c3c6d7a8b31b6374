"""Keeping blocks as they should be: survey, repair, balance, safety, health, canaries."""
