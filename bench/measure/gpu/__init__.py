"""What is measured of a CUDA device."""
