"""One run, wired from its parts."""
