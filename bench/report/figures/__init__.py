"""The report's figures, each as PDF for print and PNG for the screen."""

from bench.report.figures.pictures import Picture, plan

__all__ = ["Picture", "plan"]
