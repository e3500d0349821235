"""How many processes and machines a workload needs: a pure model of measured costs."""
