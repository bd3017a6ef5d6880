"""Tables and figures in every output format; knows nothing of the benchmark."""
