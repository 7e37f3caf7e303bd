"""Everything beyond the published method; all of it is off by default and chosen in ``models.parts``."""
