"""ACME Corp, simulated: warehouses that sell, store and send, the events they tell of it, and the answer key.

`world` is the truth of all warehouses and `history` that of one, day after day: `attempts` to buy meet the `shelf` in
the `stockroom`, a `fleet` carries what is sold, some of it comes back (`returns`), `mishaps` and planted `anomalies`
lie in its way. Truth travels as `lines` has it. `sources` encodes it in a warehouse's own `dialect`, and `faults`
plans what goes wrong on the wire; `answer_key` computes from the truth and the plan, never from the encoding, what
the tables must hold. The platform never imports this package: a company that forks the platform deletes this folder.
"""
