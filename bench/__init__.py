"""How fastmlp does on this machine, beside its peers: see README.md in this folder."""
