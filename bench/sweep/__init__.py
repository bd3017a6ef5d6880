"""Many runs from one TOML file: planned in rounds, each run in a process of its own, resumed where it was stopped."""
