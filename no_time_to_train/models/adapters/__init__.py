"""Small learned changes of large networks: where they are put, and the file that they are kept in."""
