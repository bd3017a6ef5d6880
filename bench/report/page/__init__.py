"""The report as one page that needs no network: tables, figures, a recommendation, and every record behind them."""

from bench.report.page.page import write_html

__all__ = ["write_html"]
