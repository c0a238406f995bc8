-- Accounts of users, one per unit. The shop's own accounts (shop:issued,
-- shop:sales) have no row here, which every transfer would have to change:
-- they are the sums of their entries.
CREATE TABLE account (
    owner   TEXT    NOT NULL CHECK (owner <> '' AND owner NOT GLOB 'shop:*'),
    unit    TEXT    NOT NULL CHECK (unit = 'POINT' OR length(unit) = 3),
    balance INTEGER NOT NULL CHECK (balance >= 0),  -- the sum of its entries
    PRIMARY KEY (owner, unit)
) STRICT, WITHOUT ROWID;

-- The ledger: two entries a transfer, one of the shop and one of the user,
-- which add up to zero. In the order of writing, so that it grows at its end.
CREATE TABLE entry (
    seq        INTEGER PRIMARY KEY,
    owner      TEXT    NOT NULL,
    unit       TEXT    NOT NULL,
    transfer   TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount <> 0),
    balance    INTEGER CHECK (balance >= 0),  -- of the user's account after it
    kind       TEXT    NOT NULL CHECK (kind IN
        ('credit', 'debit', 'return', 'grant', 'revoke', 'refund')),
    order_id   TEXT,     -- on the user's side of all but a credit
    occurrence INTEGER,  -- of the order's step
    reason     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    CHECK ((balance IS NULL) = (owner GLOB 'shop:*')),
    CHECK ((order_id IS NOT NULL) = (kind <> 'credit' AND balance IS NOT NULL)),
    CHECK ((order_id IS NULL) = (occurrence IS NULL)),
    -- A kind moves one way, and only a credit may be of either unit.
    CHECK (balance IS NULL OR kind = 'credit'
        OR (amount < 0) = (kind IN ('debit', 'revoke'))),
    CHECK (kind = 'credit' OR (unit = 'POINT') = (kind IN ('grant', 'revoke')))
) STRICT;

CREATE INDEX entry_user ON entry (owner, unit) WHERE balance IS NOT NULL;

-- A step does its kind once; the undo knows nothing but the step.
CREATE UNIQUE INDEX entry_step ON entry (order_id, occurrence, kind) WHERE order_id IS NOT NULL;

CREATE TRIGGER entry_kept BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER entry_fixed BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
