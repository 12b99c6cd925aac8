"""The trainer: learning code that knows nothing of processes, and the process that runs it."""
