"""The one loop: remember references, segment images. Every face calls it."""
