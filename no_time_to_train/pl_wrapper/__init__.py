"""Lightning: loaders, processes and devices around the pipeline."""
