"""``ntt app``: show one, see them all, correct, export, in the browser on one's own machine."""
