"""How the oracle plans: a situation in bits, what is left to do in it, and a search. `planner` is the way in."""
