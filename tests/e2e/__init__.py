"""The whole pipeline on the real servers, used as a person or a program would."""
