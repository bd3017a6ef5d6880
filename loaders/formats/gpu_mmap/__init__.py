"""Pixels that a CUDA device gathers from."""
