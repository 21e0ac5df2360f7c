"""What is remembered: the journal of a campaign and the content-addressed results shared between campaigns."""
