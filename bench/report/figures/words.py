"""The figures' texts in a language."""

from bench.render.language import say

__all__ = ["say"]
