"""The harness: feeds one training protocol from any loader and records what it cost."""
