"""The simulated sky: fields, objects, exposures, stamps and packets that read as ZTF's, with their truth."""
