-- A searchable group of SKUs.
CREATE TABLE product (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    search     TEXT NOT NULL,             -- the name in lower case
    categories TEXT NOT NULL,             -- JSON array of paths
    attributes TEXT NOT NULL              -- JSON object
) STRICT, WITHOUT ROWID;

-- The products at or below each path: Men, Men/Tops and Men/Tops/Jackets each
-- have a row for a jacket.
CREATE TABLE category (
    path    TEXT NOT NULL,
    product TEXT NOT NULL REFERENCES product (id),
    PRIMARY KEY (path, product)
) STRICT, WITHOUT ROWID;
CREATE INDEX category_product ON category (product);

-- What an order can name. How many there are stands apart, in narrow rows,
-- because that changes with every order.
CREATE TABLE sku (
    id            TEXT    PRIMARY KEY,
    product       TEXT    NOT NULL REFERENCES product (id),
    name          TEXT    NOT NULL,
    options       TEXT    NOT NULL,       -- JSON object, empty for none
    picture       TEXT    NOT NULL,
    price         INTEGER NOT NULL CHECK (price >= 0), -- minor units
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    max_per_order INTEGER NOT NULL CHECK (max_per_order >= 0),
    max_per_user  INTEGER NOT NULL CHECK (max_per_user >= 0),
    off_sale      INTEGER NOT NULL CHECK (off_sale IN (0, 1)),
    kind          TEXT    NOT NULL CHECK (kind IN ('', 'digital', 'course')),
    policy        TEXT    NOT NULL CHECK (policy IN ('', 'payment', 'none'))
) STRICT, WITHOUT ROWID;
CREATE INDEX sku_product ON sku (product);

-- The sums of a SKU's ledger, written only by the ledger's trigger.
CREATE TABLE stock (
    sku    TEXT    PRIMARY KEY REFERENCES sku (id),
    stock  INTEGER NOT NULL DEFAULT 0 CHECK (stock <= 1000000000),
    locked INTEGER NOT NULL DEFAULT 0,
    last   INTEGER NOT NULL DEFAULT 0,    -- newest row of the ledger
    CHECK (locked >= 0 AND locked <= stock)
) STRICT, WITHOUT ROWID;

-- Every change of stock with its cause. A SKU's rows are chained from the
-- newest to the oldest, so that writing needs no index.
CREATE TABLE ledger (
    seq    INTEGER PRIMARY KEY,
    prev   INTEGER NOT NULL,              -- the SKU's row before this one, or 0
    sku    TEXT    NOT NULL,
    kind   TEXT    NOT NULL
           CHECK (kind IN ('receive', 'lock', 'unlock', 'sell', 'return', 'adjust')),
    stock  INTEGER NOT NULL,              -- differences
    locked INTEGER NOT NULL,
    cause  TEXT    NOT NULL,              -- order, or id of the command
    reason TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    CHECK (stock <> 0 OR locked <> 0)
) STRICT;

CREATE TRIGGER ledger_counts AFTER INSERT ON ledger BEGIN
    UPDATE stock SET stock = stock + new.stock, locked = locked + new.locked, last = new.seq
    WHERE sku = new.sku;
END;

CREATE TRIGGER ledger_stays_whole BEFORE DELETE ON ledger BEGIN
    SELECT raise(ABORT, 'a row of the stock ledger is never deleted');
END;

CREATE TRIGGER ledger_stays_true BEFORE UPDATE ON ledger BEGIN
    SELECT raise(ABORT, 'a row of the stock ledger is never changed');
END;

-- What a reserve step reserved, until it is released; sold ones stay. A line
-- is {"sku", "quantity", "counted", "policy", "short", "returned", "kept",
-- "void", "here"}, of which zero values are left out. Locked are the quantities of held
-- lines without a policy. A sold line has sold quantity - short, of which
-- returned came back, kept of them not into the stock; with policy none, none
-- of this stands in the ledger.
CREATE TABLE hold (
    order_id   TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    occurrence INTEGER NOT NULL,
    user_id    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('held', 'sold')),
    lines      TEXT    NOT NULL,          -- JSON array, one entry a SKU
    PRIMARY KEY (order_id, step, occurrence)
) STRICT, WITHOUT ROWID;

-- Units that a user holds or has bought of SKUs with a limit per user.
CREATE TABLE taken (
    sku     TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    units   INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (sku, user_id)
) STRICT, WITHOUT ROWID;
