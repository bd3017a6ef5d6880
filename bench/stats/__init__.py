"""Intervals, comparisons and statistical power."""
