"""The contract of a storage format: batches, options, errors, and what every loader shares."""
