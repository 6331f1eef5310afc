"""What the service needs of a cluster: its capacity, what runs there, and its volumes.  One module a kind."""
