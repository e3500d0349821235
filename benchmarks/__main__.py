"""`make bench`: both benchmarks, one after the other."""

from benchmarks import delay, sequencer

sequencer.main()
delay.main()
