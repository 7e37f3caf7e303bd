"""What every server of the package shares: its guards, and how it runs and stops."""
