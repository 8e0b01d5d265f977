"""`python -m lrfinder` is the command line."""

from lrfinder.cli import main

if __name__ == "__main__":
    main()
