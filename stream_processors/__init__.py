"""The sequencer: sequences commands and fans out entries. A pure core, with Faust around it."""
