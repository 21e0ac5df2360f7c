"""What a campaign found, what it cost and why it did what it did, from its journal and the result store alone."""
