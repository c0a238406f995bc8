package audit

import "slices"

// check is one rule of the audit. Its query selects what breaks the rule:
// the order (” where there is none), the row, and what is wrong.
type check struct {
	name string
	// needs are the actors whose files the query reads, under their names.
	needs []string
	query string
}

// whole are the checks that read all rows of one file, or of the payment's and
// the gateway's. The others compare actors order by order, and can be told of
// some orders alone.
var whole = [...]string{"stock", "locked", "hold-ledger", "accounts", "entries", "transfers",
	"deadlines", "overdue", "seats", "taken", "gateway-work", "effects", "releases",
	"gateway-pays", "gateway-refunds"}

func (c *check) whole() bool { return slices.Contains(whole[:], c.name) }

// gateway tells that the check reads the books of a sandbox, which nothing
// orders in time against the payment actor's.
func (c *check) gateway() bool { return c.whole() && !exact(c.name) }

// checks are the rules of the audit about what orders take and hold, told from
// tables; those about money, and what follows it, are moneyChecks. Two tables
// are compared by grouping their union, because a FULL JOIN has no index to use
// and takes the square of the rows. Rows C5, C7, S5, S6, S7, S10, L4, M11.
var checks = [...]check{
	{"stock", []string{"goods"}, `
		-- The stock of each SKU is the sum of its ledger.
		WITH book AS (SELECT sku, stock, locked, 0 AS book_stock, 0 AS book_locked FROM goods.stock
			UNION ALL SELECT sku, 0, 0, stock, locked FROM goods.ledger)
		SELECT '', 'goods.stock ' || sku,
			printf('stock %d, locked %d, but its ledger adds up to %d and %d',
				sum(stock), sum(locked), sum(book_stock), sum(book_locked))
		FROM book GROUP BY sku
		HAVING sum(stock) <> sum(book_stock) OR sum(locked) <> sum(book_locked)
			OR sum(locked) < 0 OR sum(locked) > sum(stock)`},
	{"locked", []string{"goods"}, `
		-- The locked units of each SKU are those of its open holds.
		WITH book AS (SELECT sku, locked, 0 AS held FROM goods.stock
			UNION ALL SELECT j.value ->> 'sku', 0, j.value ->> 'quantity'
				FROM goods.hold h, json_each(h.lines) j
				WHERE h.state = 'held' AND j.value ->> 'policy' IS NULL)
		SELECT '', 'goods.stock ' || sku,
			printf('%d locked, but open holds have %d', sum(locked), sum(held))
		FROM book GROUP BY sku HAVING sum(locked) <> sum(held)`},
	{"hold-ledger", []string{"goods"}, `
		-- What the ledger says an order locked and bought is what its holds say, less what
		-- was short or came back into the stock.
		WITH book AS (SELECT cause AS id, sku, locked, -stock AS sold, 0 AS hold_locked,
				0 AS hold_sold FROM goods.ledger WHERE kind IN ('lock', 'unlock', 'sell', 'return')
			UNION ALL SELECT h.order_id, j.value ->> 'sku', 0, 0,
				iif(h.state = 'held' AND j.value ->> 'policy' IS NULL, j.value ->> 'quantity', 0),
				iif(h.state = 'sold', (j.value ->> 'quantity') - coalesce(j.value ->> 'short', 0)
					- coalesce(j.value ->> 'returned', 0) + coalesce(j.value ->> 'kept', 0), 0)
				FROM goods.hold h, json_each(h.lines) j
				WHERE j.value ->> 'policy' IS NOT 'none')
		SELECT id, 'goods.hold ' || sku,
			printf('holds %d and sold %d, but by the ledger %d and %d', sum(hold_locked),
				sum(hold_sold), sum(locked), sum(sold))
		FROM book GROUP BY id, sku
		HAVING sum(locked) <> sum(hold_locked) OR sum(sold) <> sum(hold_sold)`},
	{"holds", []string{"goods", "order"}, `
		-- No hold without an order of its user that wants it.
		SELECT h.order_id, 'goods.hold ' || h.order_id,
			printf('%s for an order that is %s', h.state, coalesce(o.state, 'unknown'))
		FROM goods.hold h LEFT JOIN "order".orders o ON o.id = h.order_id
		WHERE o.id IS NULL OR o.user <> h.user_id OR NOT (h.state = 'held'
			AND o.state IN ('pending', 'placed', 'closing')
			OR h.state = 'sold' AND o.state = 'paid')`},
	{"held", []string{"goods", "order"}, `
		-- Every order that is placed, closing or paid holds or has bought exactly its lines.
		WITH book AS (SELECT o.id, j.value ->> 'sku' AS sku, j.value ->> 'quantity' AS want,
			0 AS have
				FROM "order".orders o, json_each(o.lines) j
				WHERE o.state IN ('placed', 'closing', 'paid')
			UNION ALL SELECT h.order_id, j.value ->> 'sku', 0, j.value ->> 'quantity'
				FROM goods.hold h JOIN "order".orders o ON o.id = h.order_id, json_each(h.lines) j
				WHERE o.state IN ('placed', 'closing', 'paid'))
		SELECT id, 'goods.hold ' || sku, printf('%d ordered, %d held or sold', sum(want), sum(have))
		FROM book GROUP BY id, sku HAVING sum(want) <> sum(have)`},
	{"taken", []string{"goods"}, `
		-- What counts against the limits per user is what users hold or have bought.
		WITH book AS (SELECT sku, user_id, units, 0 AS have FROM goods.taken
			UNION ALL SELECT j.value ->> 'sku', h.user_id, 0, (j.value ->> 'quantity')
				- coalesce(j.value ->> 'short', 0) - coalesce(j.value ->> 'returned', 0)
				FROM goods.hold h, json_each(h.lines) j WHERE j.value ->> 'counted')
		SELECT '', 'goods.taken ' || sku || ' ' || user_id,
			printf('%d count against the limit, %d are held or bought', sum(units), sum(have))
		FROM book GROUP BY sku, user_id HAVING sum(units) <> sum(have)`},
	{"accounts", []string{"wallet"}, `
		-- A user's account holds the sum of its entries.
		WITH book AS (SELECT owner, unit, balance, 0 AS amount FROM wallet.account
			UNION ALL SELECT owner, unit, 0, amount FROM wallet.entry
				WHERE owner NOT GLOB 'shop:*')
		SELECT '', 'wallet.account ' || owner || ' ' || unit,
			printf('holds %d, but its entries add up to %d', sum(balance), sum(amount))
		FROM book GROUP BY owner, unit HAVING sum(balance) <> sum(amount) OR sum(balance) < 0`},
	{"entries", []string{"wallet"}, `
		-- Every entry says what its account held after it.
		SELECT coalesce(order_id, ''), 'wallet.entry ' || owner || ' ' || unit || ' ' || seq,
			printf('says %d is left, but %d is', balance, running)
		FROM (SELECT *, sum(amount) OVER (PARTITION BY owner, unit ORDER BY seq) AS running
			FROM wallet.entry)
		WHERE balance <> running`},
	{"transfers", []string{"wallet"}, `
		-- Both entries of a transfer add up to zero, and so does each unit.
		SELECT coalesce(max(order_id), ''), 'wallet.entry ' || transfer,
			printf('%d entries add up to %d %s', count(*), sum(amount), unit)
		FROM wallet.entry GROUP BY transfer, unit HAVING sum(amount) <> 0 OR count(*) <> 2
		UNION ALL
		SELECT '', 'wallet.entry', printf('all entries add up to %d %s', sum(amount), unit)
		FROM wallet.entry GROUP BY unit HAVING sum(amount) <> 0`},
	{"debits", []string{"wallet", "order"}, `
		-- What was taken from a wallet for an order, before refunds, is what the order says.
		WITH book AS (SELECT id, currency AS unit, state, balance, 0 AS taken FROM "order".orders
			UNION ALL SELECT order_id, unit, NULL, 0, -amount FROM wallet.entry
				WHERE order_id IS NOT NULL AND kind IN ('debit', 'return'))
		SELECT id, 'wallet.entry', printf('%d was taken for an order that is %s and uses %d',
				sum(taken), coalesce(max(state), 'unknown'), sum(balance))
		FROM book GROUP BY id, unit HAVING CASE
			WHEN max(state) IN ('placed', 'closing', 'paid') THEN sum(taken) <> sum(balance)
			WHEN max(state) = 'pending' THEN sum(taken) NOT IN (0, sum(balance))
			ELSE sum(taken) <> 0 END`},
	{"coupons-used", []string{"coupon", "order"}, `
		-- A used coupon is used by one order of its owner that is not over.
		SELECT c.order_id, 'coupon.coupon ' || c.id,
			printf('used by an order that is %s and names coupon %s', coalesce(o.state, 'unknown'),
				coalesce(o.coupon, ''))
		FROM coupon.coupon c LEFT JOIN "order".orders o ON o.id = c.order_id
		WHERE c.order_id IS NOT NULL AND (o.id IS NULL OR o.coupon <> c.id OR o.user <> c.user_id
			OR o.state IN ('refused', 'cancelled'))`},
	{"coupons", []string{"coupon", "order"}, `
		-- An order with a coupon that is not over uses it, for what it is worth, until nothing
		-- is left of the order.
		SELECT o.id, 'coupon.coupon ' || o.coupon,
			iif(c.id IS NULL, 'the order uses it, but it is not marked as used by the order',
				printf('the order takes off %d, the coupon %d', o.discount, c.amount))
		FROM "order".orders o LEFT JOIN coupon.coupon c ON c.order_id = o.id AND c.id = o.coupon
		WHERE o.state IN ('placed', 'closing', 'paid') AND o.coupon <> ''
			AND (c.id IS NULL OR o.discount <> min(c.amount, o.subtotal)) AND NOT EXISTS (
				SELECT 1 FROM "order".refund r WHERE r.order_id = o.id AND r.coupon <> '')`},
	{"totals", []string{"order"}, `
		-- The amounts of an order add up, and its discount is spread over its lines.
		SELECT id, 'order.orders ' || id, printf(
			'subtotal %d, discount %d, total %d, balance %d; lines cost %s with discounts of %s',
			subtotal, discount, total, balance, cost, spread)
		FROM (SELECT *,
			(SELECT sum((j.value ->> '$.price.amount') * (j.value ->> 'quantity'))
				FROM json_each(lines) j) AS cost,
			(SELECT sum(coalesce(j.value ->> 'discount', 0)) FROM json_each(lines) j) AS spread
			FROM "order".orders)
		WHERE cost IS NOT subtotal OR total <> subtotal - discount OR balance > total
			OR balance < 0 OR discount < 0
			OR state IN ('placed', 'paid') AND (spread <> discount
				OR coupon = '' AND discount <> 0)
			OR state = 'paid' AND pay_method = 'balance' AND balance <> total`},
	{"steps", []string{"order"}, `
		-- An order that is over has undone all it did, one that stands has done all
		-- but to be paid. A refund of all that is left undoes the coupon.
		SELECT o.id, 'order.steps ' || s.name,
			printf('step is %s in an order that is %s', s.state, o.state)
		FROM "order".steps s JOIN "order".orders o ON o.id = s.order_id
		WHERE s.occurrence = 0 AND (
			o.state IN ('refused', 'cancelled') AND s.state IN ('asked', 'done')
			OR o.state IN ('placed', 'paid') AND s.state IN ('undoing', 'undone', 'refused')
				AND NOT (s.name = 'coupon.redeem' AND EXISTS (SELECT 1 FROM "order".refund r
					WHERE r.order_id = o.id AND r.coupon <> ''))
			OR o.state = 'placed' AND s.state = 'asked' AND s.name <> 'payment.collect')
		UNION ALL
		SELECT s.order_id, 'order.steps ' || s.name, 'there is no such order'
		FROM "order".steps s WHERE s.order_id NOT IN (SELECT id FROM "order".orders)`},
	{"unanswered", []string{"order"}, `
		-- A step that was asked for is answered, once its messages are through; those
		-- of the payment when the shopper has paid, or can't any more, and the gateway
		-- has refunded.
		SELECT o.id, 'order.steps ' || s.name,
			printf('step is %s, and no message about the order is under way', s.state)
		FROM "order".steps s JOIN "order".orders o ON o.id = s.order_id
		WHERE s.state IN ('asked', 'undoing') AND s.name <> 'payment.refund'
			AND NOT (s.name = 'payment.collect'
				AND (o.state, s.state) IN (VALUES ('placed', 'asked'), ('closing', 'undoing')))`},
	{"deadlines", []string{"order"}, `
		-- The last sweep, when it has come to its end, left no deadline behind it.
		WITH sweep AS (SELECT max(at) AS at FROM "order"._edge WHERE id GLOB 'tick-order-*')
		SELECT o.id, 'order.orders ' || o.id, printf('still %s %d ms after its deadline', o.state,
			(sweep.at - o.deadline) / 1000000)
		FROM "order".orders o, sweep
		WHERE o.deadline IS NOT NULL AND o.deadline < sweep.at AND NOT EXISTS (
			SELECT 1 FROM "order"._outbox b WHERE b.receiver = 'order.0' AND b.number > (
				SELECT coalesce(max(i.number), 0) FROM "order"._in i
				WHERE i.sender = 'order.0' AND i.retired = 0))`},
	{"overdue", []string{"order"}, `
		-- An accepted order is decided, or over, within a bound after its deadline, whether
		-- or not there was a sweep.
		SELECT o.id, 'order.orders ' || o.id, printf('still %s %d s after its deadline', o.state,
			(a.now - o.deadline) / 1000000000)
		FROM "order".orders o, "order"._actor a
		WHERE o.deadline IS NOT NULL AND o.deadline < a.now - $bound`},
	{"final", []string{"order", "journal"}, `
		-- An order comes to one end.
		SELECT o.id, 'journal.entry ' || e.type, printf('the order is %s', o.state)
		FROM journal.entry e JOIN "order".orders o ON o.id = e.order_id
		WHERE e.type IN ('order.paid', 'order.refused', 'order.cancelled')
			AND e.type <> 'order.' || o.state`},
	{"journal", []string{"order", "journal"}, `
		-- Every decision stands in the journal, once.
		WITH want AS (SELECT id, 'order.' || state AS type FROM "order".orders
				WHERE state IN ('placed', 'paid', 'refused', 'cancelled')),
			have AS (SELECT order_id AS id, type, count(*) AS n FROM journal.entry GROUP BY 1, 2)
		SELECT coalesce(w.id, h.id), 'journal.entry ' || coalesce(w.type, h.type),
			printf('%d events', coalesce(h.n, 0))
		FROM want w LEFT JOIN have h ON h.id = w.id AND h.type = w.type
		WHERE coalesce(h.n, 0) <> 1
		UNION ALL
		SELECT h.id, 'journal.entry ' || h.type, printf('%d events', h.n)
		FROM have h WHERE h.n > 1
			AND h.type IN ('order.placed', 'order.paid', 'order.refused', 'order.cancelled')
			AND (h.id, h.type) NOT IN (SELECT id, type FROM want)`},
}
