"""What one task runs: first-principles engines, molecular dynamics, and what happens when they fail."""
