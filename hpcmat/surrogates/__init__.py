"""What is learned from labels: an interatomic potential of ACE type, linear, with its exact posterior."""
