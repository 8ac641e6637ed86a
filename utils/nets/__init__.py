"""The networks themselves, written out: in Keras, in plain TensorFlow, and what both rest on."""
