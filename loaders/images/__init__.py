"""From image files to pixels: decoding, cropping, and the threads that share the work."""
