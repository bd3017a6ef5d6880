"""The report as one page that needs no network: tables, figures, a recommendation, and every record behind them."""

from bench.report.page.page import html

__all__ = ["html"]
