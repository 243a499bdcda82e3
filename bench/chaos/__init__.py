"""Chaos: load and faults by a seed, and the promises checked after each epoch. `python -m bench.chaos --seed 7`.

schedule    which faults, when, for how long: made from the seed alone
handlers    what the workers run: a ledger (transactional) and orders at a sink (external)
sink        the outside world, a process of its own: gives each order its number
load        writers that roll back, use savepoints, upsert and COPY
fleet       the workers, each replaced when it is killed
faults      how each fault is done, and undone
invariants  what must hold once all is calm again
epoch       one round of these
"""
