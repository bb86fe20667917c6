"""Runs on the disk: their folders, what they were made with, how far they are. Imports no torch."""
