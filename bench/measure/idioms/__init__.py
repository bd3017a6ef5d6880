"""Each format's fastest plain idiom: the limit that a loader's rate is held against."""
