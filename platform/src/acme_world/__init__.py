"""ACME Corp, simulated: warehouses that sell, store and send goods, their events, and the answer key.

`world` simulates all warehouses and `history` one of them, day by day: `attempts` to buy take goods from the `shelf`
in the `stockroom`, a `fleet` delivers what is sold, some of it comes back (`returns`), `mishaps` and planted
`anomalies` interfere. `lines` defines the form of these facts, the truth. `sources` encodes it in the `dialect` of
each warehouse, and `faults` plans transmission faults; `answer_key` computes from the truth and the plan, never from
the encoding, what the tables must contain. The platform never imports this package: a company that forks the platform
deletes this folder.
"""
