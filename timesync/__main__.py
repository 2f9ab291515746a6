"""``python -m timesync``: the command, where it is not on the path."""

from timesync.cli.main import main

if __name__ == "__main__":
    main()
