"""What is measured around a run: time, memory, CPU and the machine itself."""
