"""Studies of engines: several of them on the same structures, and one of them at several settings."""
