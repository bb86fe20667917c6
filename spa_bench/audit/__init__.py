"""Credit measured without training: step rewards against the return, the oracle's progress and executed effects."""
