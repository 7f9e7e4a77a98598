"""ACME Corp, simulated: warehouses that sell order lines, the events they send, and the answer key.

`world` is the truth. `orders` encodes it in a warehouse's own dialect and `faults` plans what goes wrong on the
wire; `answer_key` computes from the truth and the plan, never from the encoding, what the tables must hold.
The platform never imports this package: a company that forks the platform deletes this folder.
"""
