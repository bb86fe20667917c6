"""VirtualHome without Unity: household programs over a graph of objects and relations, for one or two characters."""
