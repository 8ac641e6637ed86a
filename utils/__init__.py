"""Tools of the spoken-command course, one module a topic; each imports only what stands above it.

- names, memory, audio, augment, plots
- cli, labels, quiet
- files, litert, microphone, strategies, trained
- archives, downloads, corpus, store
- sources, leaks, evaluation, features
- splits, voices, negatives, datasets, frontend, stream, web
- prepare, networks
- models, modules
- flags, runs
- training, recogniser
- export
"""
