"""The room of the agents: who acts."""
