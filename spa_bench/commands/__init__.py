"""The command line: `cli` has most commands, `data`, `new` and `report` the others; what they share is in `words`."""
