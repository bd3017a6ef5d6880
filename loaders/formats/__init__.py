"""The storage formats that come with the package, one module or package each."""
