"""What is worked out of finished runs before anything is printed or drawn. Imports no torch."""
