"""Recipes: properties of a crystal as a series of labels, each of which is a task of its own.

A recipe is a generator. It yields the structures it needs next and is sent their labels; what it returns are the
properties. It has no other input, so that it can be run again from its first line at any time: labels that exist are
handed to it at once, and it stops where one is missing. Whoever drives it needs to remember nothing, a label is never
paid for twice, and those of one round can be computed at the same time.
"""
