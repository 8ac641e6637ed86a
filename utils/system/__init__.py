"""What any command needs of the computer: files, downloads, errors for people, TensorFlow without its notes."""
