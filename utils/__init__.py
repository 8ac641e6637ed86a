"""Tools of the spoken-command course, one module a topic; imports run one way, top to bottom.

cli, files, labels -> audio -> sources, voices, splits -> features -> store -> prepare
-> frontend -> datasets -> models -> training, evaluation; plots is a leaf.
"""
