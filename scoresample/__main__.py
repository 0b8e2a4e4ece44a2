"""``python -m scoresample`` is the command ``scoresample``."""

from scoresample.cli import main

if __name__ == "__main__":
    main(prog_name="scoresample")
