"""``python -m batchrunner``."""

from batchrunner.cli import main

if __name__ == "__main__":
    main()
