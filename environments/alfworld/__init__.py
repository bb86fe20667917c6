"""ALFWorld in text: households, six kinds of task."""
