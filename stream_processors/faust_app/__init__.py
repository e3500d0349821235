"""The Faust worker: the app, and the changes to Faust's consumer and scheduler."""
