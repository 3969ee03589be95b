"""`python -m fabula`."""

from fabula.cli import main

main()
