"""Parsl providers that Parsl lacks."""
