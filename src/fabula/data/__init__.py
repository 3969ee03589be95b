"""What the package ships as data: the sample corpus, reading models, the embedded model."""
