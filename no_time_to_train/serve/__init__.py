"""A server without pages: pictures in, masks out, for annotation tools and other programs."""
