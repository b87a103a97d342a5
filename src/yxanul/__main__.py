"""`python -m yxanul`."""

from yxanul.cli import main

if __name__ == "__main__":
    main()
