"""Advice for one's own data on this machine, from measurements on a sample of it within a time budget."""
