"""HDF5 by h5py: one file with a group per split."""
