-- Shipments, one an order.
CREATE TABLE shipment (
    n            INTEGER PRIMARY KEY,  -- in the order of their making
    order_id     TEXT    NOT NULL UNIQUE CHECK (order_id <> ''),
    user_id      TEXT    NOT NULL CHECK (user_id <> ''),
    state        TEXT    NOT NULL CHECK (state IN ('created', 'shipped', 'received', 'cancelled')),
    address      TEXT    NOT NULL,     -- JSON, the order's snapshot
    lines        TEXT    NOT NULL,     -- JSON, the units to be shipped
    carrier      TEXT    NOT NULL DEFAULT '',
    tracking     TEXT    NOT NULL DEFAULT '',
    shipped_by   TEXT    NOT NULL DEFAULT '',  -- user id of who said so
    created      INTEGER NOT NULL,
    shipped      INTEGER NOT NULL DEFAULT 0,
    received     INTEGER NOT NULL DEFAULT 0,
    auto_receive INTEGER NOT NULL DEFAULT 0,
    CHECK ((lines = '[]') = (state = 'cancelled')),
    CHECK ((shipped > 0) = (state IN ('shipped', 'received'))),
    CHECK ((carrier <> '' AND tracking <> '' AND auto_receive > shipped) = (shipped > 0)),
    CHECK ((received > 0) = (state = 'received'))
) STRICT;

CREATE INDEX shipment_state ON shipment (state);

-- The deadlines that the tick sweeps.
CREATE INDEX shipment_due ON shipment (auto_receive) WHERE state = 'shipped';
