"""`python -m spa_bench`."""

from spa_bench.cli import main

if __name__ == "__main__":
    main()
