"""What was computed once is kept on disk: patch features and mask proposals, addressed by what they hold."""
