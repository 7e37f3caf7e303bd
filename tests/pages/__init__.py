"""What the tests of the documentation share: blocks, a prepared folder, how commands run."""
