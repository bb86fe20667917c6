"""What `generate` is made of: tables, homes, chores, their words, and programs that do them."""
