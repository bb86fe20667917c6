"""`python -m spa_bench`."""

from spa_bench.commands.cli import main

if __name__ == "__main__":
    main()
