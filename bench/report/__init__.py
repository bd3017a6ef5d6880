"""Tables made from records and nothing else."""
