"""The gradient audit's tables: on a terminal, as Markdown, as CSV with raw values, and as LaTeX."""
