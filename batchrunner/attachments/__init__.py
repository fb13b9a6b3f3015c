"""The one room that opens files which job files name: beneath one folder, and nothing else."""
