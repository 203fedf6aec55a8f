"""How a version reaches the hosts of a stage.

| file | what |
|---|---|
| `plan.py` | which hosts, in which order, how many at a time |
| `record.py` | the record of a rollout, typed |
| `transitions.py` | each change of that record: one transaction, made by the holder of the lock |
| `abort.py` | the word that a rollout is to stop |
| `health.py` | what a batch waits for |
| `steps.py` | the steps that the workflow calls, made of the others |
"""
