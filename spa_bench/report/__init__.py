"""Tables, figures and the page, from run folders. Imports no torch, no environment, agent or reward method."""
