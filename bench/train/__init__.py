"""The training protocol: augmentation, networks, steps, transfers and scores."""
