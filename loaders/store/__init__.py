"""How a store comes to be on disk, and how one that is damaged is recognised."""
