"""Models in registries outside this machine: what is stored there, under which name, and how it gets there and back."""
