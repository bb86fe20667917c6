"""Figures of run folders and audits: what is drawn is worked out first, as plain values, and then drawn.

Nothing here plays a world or loads torch, and Matplotlib only when something is drawn.
"""
