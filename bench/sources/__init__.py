"""Datasets in their official form, streamed; one dataset a module."""
