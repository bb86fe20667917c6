"""Tables from run folders. Imports no torch and no room."""
