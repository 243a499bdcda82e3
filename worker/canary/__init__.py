"""The canary: a small event that each worker sends now and then the way of all events, to see that it comes back.

    sender: update hearken.canary → trigger → log → doorbell → consumer → returning: its row says so → sender looks

`silence` says which part is at fault when it does not. `worker.app` runs it, `worker.health` tells of it.
"""
