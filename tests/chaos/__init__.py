"""Campaigns under random faults: a plan drawn from a seed, injectors, and an auditor that looks at what is left."""
