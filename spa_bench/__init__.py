"""spa-bench: the neutral referee for step-level rewards in multi-turn language-model agents.

Importing the package registers the worlds with Gymnasium: `gymnasium.make("spa_bench:ALFWorld-v0")`.
"""

from spa_bench import environments as environments
from spa_bench.version import __version__ as __version__
