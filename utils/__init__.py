"""Tools of the spoken-command course, one module a topic; imports run one way, top to bottom.

names -> cli, files, labels -> audio -> archives -> downloads -> sources -> voices, corpus -> leaks -> splits -> store
-> features -> prepare -> quiet -> frontend -> datasets -> models -> flags -> evaluation -> training -> recogniser
-> stream, litert -> export; augment, microphone and plots are leaves.
"""
