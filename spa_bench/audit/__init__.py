"""Credit measured by itself: how a method's step rewards relate to the return, the oracle and executed effects."""
