"""One thing wrong in a function at a time: the kinds of fault as changes to its syntax tree, and how one is planted."""
