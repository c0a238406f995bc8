package audit

// moneyChecks are the rules of the audit about money that came and went back,
// and about what follows it, written like checks. What a refund that is running
// may have done by now or not lies between two bounds. A + before a column keeps
// SQLite from an index with few values in front. Rows S10, C6, E2, L1 to
// L4, Y4, Y6, Y9.
var moneyChecks = [...]check{
	{"paid", []string{"payment", "order"}, `
		-- An order with something due is paid exactly when its payment is, once, by the
		-- trade that it names.
		SELECT o.id, 'payment.payment ' || o.id,
			printf('order paid with %d by %s %s; payment %s with %d by %s', o.total - o.balance,
				o.attempt, o.trade_no, coalesce(p.state, 'missing'), coalesce(p.amount, 0),
				coalesce(p.attempt, ''))
		FROM "order".orders o LEFT JOIN payment.payment p ON p.order_id = o.id
		WHERE o.state = 'paid' AND o.balance < o.total AND (p.state IS NOT 'paid'
			OR p.amount <> o.total - o.balance OR p.currency <> o.currency
			OR p.attempt <> o.attempt OR p.user <> o.user
			OR 1 <> (SELECT count(*) FROM payment.log l WHERE l.order_id = o.id AND +l.kind = 'pay'
				AND l.attempt = o.attempt AND +l.provider = o.provider AND l.trade_no = o.trade_no
				AND l.amount = o.total - o.balance AND l.currency = o.currency))
		UNION ALL
		SELECT p.order_id, 'payment.payment ' || p.order_id,
			printf('paid for an order that is %s', coalesce(o.state, 'unknown'))
		FROM payment.payment p LEFT JOIN "order".orders o ON o.id = p.order_id
		WHERE p.state = 'paid' AND (o.state IS NOT 'paid' OR o.balance = o.total)`},
	{"payments", []string{"payment", "order"}, `
		-- A payment that was not made is as far as its order is. One that is closed takes
		-- nothing, so after a repair its order may be unknown.
		SELECT p.order_id, 'payment.payment ' || p.order_id,
			printf('%s with %d for an order that is %s with %d due', p.state, p.amount,
				coalesce(o.state, 'unknown'), coalesce(o.total - o.balance, 0))
		FROM payment.payment p LEFT JOIN "order".orders o ON o.id = p.order_id
		WHERE p.state <> 'paid' AND NOT (p.state = 'closed' AND o.id IS NULL)
			AND (o.state IS NOT iif(p.state = 'open', 'placed',
				iif(p.state = 'closed', 'cancelled', p.state))
			OR p.amount NOT IN (o.total - o.balance, 0) OR p.amount = 0 AND p.state <> 'closed')
		UNION ALL
		SELECT o.id, 'payment.payment ' || o.id, printf('missing for an order that is %s', o.state)
		FROM "order".orders o WHERE o.state IN ('placed', 'closing')
			AND o.id NOT IN (SELECT order_id FROM payment.payment)`},
	{"money", []string{"payment", "order"}, `
		-- What came for an order less what went back is what the order is worth.
		WITH book AS (SELECT order_id AS id, iif(kind = 'pay', amount, -amount) AS net,
				0 AS running FROM payment.log
			UNION ALL SELECT order_id, -amount, 0 FROM payment.refund
				WHERE kind = 'late' AND state = 'open'
			UNION ALL SELECT id, balance - total, 0 FROM "order".orders WHERE state = 'paid'
			UNION ALL SELECT order_id, iif(state = 'done', money, 0),
				iif(state = 'running', money, 0) FROM "order".refund)
		SELECT id, 'payment.log', printf(
			'%d too much is left of what was captured, with %d on its way back', sum(net),
			sum(running))
		FROM book GROUP BY id HAVING sum(net) NOT BETWEEN -sum(running) AND 0`},
	{"late", []string{"payment"}, `
		-- Money that came too late or twice goes back, all of it.
		SELECT l.order_id, 'payment.log ' || l.seq,
			printf('%d came too late or twice, and %d goes back', l.amount, coalesce(r.amount, 0))
		FROM payment.log l JOIN payment.attempt a ON a.id = l.attempt
			LEFT JOIN payment.payment p ON p.order_id = l.order_id
			LEFT JOIN (SELECT attempt, trade_no, sum(amount) AS amount FROM payment.refund
				WHERE kind = 'late' AND state <> 'refused' GROUP BY 1, 2) r
				ON r.attempt = l.attempt AND r.trade_no = l.trade_no
		WHERE l.kind = 'pay' AND coalesce(r.amount, 0) <> iif(p.state = 'paid'
			AND p.attempt = l.attempt AND a.trade_no = l.trade_no, 0, l.amount)`},
	{"attempts", []string{"payment"}, `
		-- An attempt sums up what came on it and goes back of it.
		WITH book AS (SELECT order_id, id, captured, returned, 0 AS came, 0 AS back
				FROM payment.attempt
			UNION ALL SELECT order_id, attempt, 0, 0, amount, 0 FROM payment.log WHERE kind = 'pay'
			UNION ALL SELECT order_id, attempt, 0, 0, 0, amount FROM payment.refund
				WHERE state <> 'refused')
		SELECT max(order_id), 'payment.attempt ' || id,
			printf('captured %d, returned %d; by log and refunds %d and %d', sum(captured),
				sum(returned), sum(came), sum(back))
		FROM book GROUP BY id HAVING sum(captured) <> sum(came) OR sum(returned) <> sum(back)`},
	{"refunding", []string{"payment"}, `
		-- A payment sums up its order's refunds.
		WITH book AS (SELECT order_id AS id, refunding, refunded, 0 AS book_refunding,
				0 AS book_refunded FROM payment.payment
			UNION ALL SELECT order_id, 0, 0, amount, iif(state = 'done', amount, 0)
				FROM payment.refund WHERE kind = 'order' AND state <> 'refused')
		SELECT id, 'payment.payment ' || id, printf(
			'refunding %d, refunded %d; its refunds add up to %d and %d', sum(refunding),
			sum(refunded), sum(book_refunding), sum(book_refunded))
		FROM book GROUP BY id HAVING sum(refunding) <> sum(book_refunding)
			OR sum(refunded) <> sum(book_refunded)`},
	{"sent-back", []string{"payment"}, `
		-- A refund that is done stands in the log, once; no other does.
		SELECT r.order_id, 'payment.refund ' || r.number, printf(
			'%s, %d to go back of %s; the log does not say so', r.state, r.amount, r.attempt)
		FROM payment.refund r WHERE (r.state = 'done') <> (SELECT count(*) FROM payment.log l
			WHERE l.order_id = r.order_id AND +l.kind = 'refund' AND l.refund = r.number
				AND l.attempt = r.attempt AND l.trade_no = r.trade_no AND l.amount = r.amount
				AND l.currency = r.currency)
		UNION ALL
		SELECT l.order_id, 'payment.log ' || l.seq,
			printf('%d went back by %s, which is %s', l.amount, l.refund,
				coalesce(r.state, 'unknown'))
		FROM payment.log l LEFT JOIN payment.refund r ON r.number = l.refund
		WHERE l.kind = 'refund' AND r.state IS NOT 'done'`},
	{"refunds", []string{"payment", "order"}, `
		-- The money of an order's refund goes back, or did, or was refused.
		SELECT r.order_id, 'order.refund ' || r.id,
			printf('%s with %d of money; at the payment %s with %d', r.state, r.money,
				coalesce(p.state, 'missing'), coalesce(p.amount, 0))
		FROM "order".refund r LEFT JOIN payment.refund p ON p.number = r.id
		WHERE CASE WHEN r.money = 0 OR r.state IN ('asked', 'denied') THEN p.number IS NOT NULL
				WHEN r.state = 'running' THEN coalesce(p.state, '') NOT IN ('open', 'done')
				ELSE p.state IS NOT iif(r.state = 'failed', 'refused', 'done') END
			OR p.amount <> r.money OR p.currency <> r.currency OR p.order_id <> r.order_id
			OR p.kind <> 'order'
		UNION ALL
		SELECT p.order_id, 'payment.refund ' || p.number, 'the order has no such refund'
		FROM payment.refund p LEFT JOIN "order".refund r ON r.id = p.number
		WHERE p.kind = 'order' AND r.id IS NULL`},
	{"gateway-steps", []string{"payment", "order"}, `
		-- A step that waits for a gateway has something to wait for.
		SELECT s.order_id, 'order.steps ' || s.name,
			printf('step is %s, and the payment is %s', s.state, coalesce(p.state, 'missing'))
		FROM "order".steps s LEFT JOIN payment.payment p ON p.order_id = s.order_id
		WHERE s.name = 'payment.collect' AND s.state IN ('asked', 'undoing')
			AND p.state IS NOT iif(s.state = 'asked', 'open', 'closing')
		UNION ALL
		SELECT s.order_id, 'order.steps ' || s.name || ' ' || s.occurrence,
			printf('step is asked, and the refund is %s', coalesce(p.state, 'missing'))
		FROM "order".steps s
			LEFT JOIN "order".refund r ON r.order_id = s.order_id AND r.number = s.occurrence
			LEFT JOIN payment.refund p ON p.number = r.id
		WHERE s.name = 'payment.refund' AND s.state = 'asked' AND p.state IS NOT 'open'`},
	{"gateway-work", []string{"payment"}, `
		-- What waits for a gateway is being asked for, or has a time when it will be.
		SELECT r.order_id, 'payment.refund ' || r.number, 'open, and nothing sends it'
		FROM payment.refund r WHERE r.state = 'open' AND NOT EXISTS (
			SELECT 1 FROM payment._effect e WHERE e.id = 'rfd-' || r.number AND e.state = 'open')
		UNION ALL
		SELECT a.order_id, 'payment.attempt ' || a.id, 'open, and nothing asks about it'
		FROM payment.attempt a WHERE a.state = 'open' AND a.next_query = 0 AND NOT EXISTS (
			SELECT 1 FROM payment._effect e WHERE e.state = 'open' AND (e.id = 'open-' || a.id
				OR e.id = 'cls-' || a.id
				OR e.id > 'qry-' || a.id || '-' AND e.id < 'qry-' || a.id || '.'))`},
	{"effects", []string{"payment"}, `
		-- The next try of an open effect is not far off.
		SELECT '', 'payment._effect ' || e.id, printf('open, and to be tried again in %d s',
			(e.next_try - a.now) / 1000000000)
		FROM payment._effect e, payment._actor a
		WHERE e.state = 'open' AND e.next_try > a.now + 3600000000000`},
	{"releases", []string{"payment"}, `
		-- A closing payment is let go within a bound after its time.
		SELECT p.order_id, 'payment.payment ' || p.order_id, printf('closing, %d s after its time',
			(a.now - p.release_at) / 1000000000)
		FROM payment.payment p, payment._actor a
		WHERE p.state = 'closing' AND p.release_at < a.now - $bound`},
	{"refund-steps", []string{"order"}, `
		-- The steps of a refund are as far as it is.
		SELECT s.order_id, 'order.steps ' || s.name || ' ' || s.occurrence,
			printf('step is %s in a refund that is %s', s.state, coalesce(r.state, 'unknown'))
		FROM "order".steps s
			LEFT JOIN "order".refund r ON r.order_id = s.order_id AND r.number = s.occurrence
		WHERE s.occurrence > 0 AND CASE r.state WHEN 'done' THEN s.state <> 'done'
			WHEN 'running' THEN s.state NOT IN ('asked', 'done')
			WHEN 'failed' THEN iif(s.name = 'shipping.cancel',
				s.state NOT IN ('done', 'undoing', 'undone'), s.state <> 'refused') ELSE 1 END
		UNION ALL
		SELECT r.order_id, 'order.refund ' || r.id, 'running, but no step is asked for'
		FROM "order".refund r WHERE r.state = 'running' AND NOT EXISTS (
			SELECT 1 FROM "order".steps s WHERE s.order_id = r.order_id
				AND s.occurrence IN (0, r.number) AND s.state = 'asked')`},
	{"refund-sums", []string{"order"}, `
		-- An order sums up its refunds, and a refund its lines.
		WITH book AS (SELECT id, refunded, back_balance, back_points, 0 AS amount, 0 AS balance,
				0 AS points FROM "order".orders
			UNION ALL SELECT order_id, 0, 0, 0, money + balance, balance, points
				FROM "order".refund WHERE state NOT IN ('denied', 'failed'))
		SELECT id, 'order.orders ' || id, printf(
			'refunded %d with balance %d and points %d; its refunds add up to %d, %d and %d',
			sum(refunded), sum(back_balance), sum(back_points), sum(amount), sum(balance),
			sum(points))
		FROM book GROUP BY id HAVING sum(refunded) <> sum(amount)
			OR sum(back_balance) <> sum(balance) OR sum(back_points) <> sum(points)
		UNION ALL
		SELECT order_id, 'order.refund ' || id, printf('money %d and balance %d, but lines of %d',
			money, balance, lines_amount)
		FROM (SELECT *, (SELECT coalesce(sum(j.value ->> 'amount'), 0) FROM json_each(lines) j)
			AS lines_amount FROM "order".refund)
		WHERE money + balance <> lines_amount`},
	{"refund-lines", []string{"order"}, `
		-- A line of an order sums up what refunds have taken of it, and no more than it has.
		WITH book AS (SELECT o.id, j.key AS line, j.value ->> 'quantity' AS quantity,
				coalesce(j.value ->> 'refunded', 0) AS units,
				coalesce(j.value ->> 'refunded_amount', 0) AS amount, 0 AS book_units,
				0 AS book_amount
				FROM "order".orders o, json_each(o.lines) j WHERE o.state = 'paid'
			UNION ALL SELECT r.order_id, j.value ->> 'line', 0, 0, 0, j.value ->> 'quantity',
				j.value ->> 'amount' FROM "order".refund r, json_each(r.lines) j
				WHERE r.state NOT IN ('denied', 'failed'))
		SELECT id, 'order.orders line ' || line, printf(
			'%d of %d units refunded with %d; its refunds have %d with %d', sum(units),
			sum(quantity), sum(amount), sum(book_units), sum(book_amount))
		FROM book GROUP BY id, line HAVING sum(units) <> sum(book_units)
			OR sum(amount) <> sum(book_amount) OR sum(units) > sum(quantity)`},
	{"balance-back", []string{"wallet", "order"}, `
		-- A wallet gets back the balance part of each refund.
		SELECT r.order_id, 'wallet.entry refund ' || r.number,
			printf('a refund that is %s has %d of balance, %d went back', r.state, r.balance,
				coalesce(e.amount, 0))
		FROM "order".refund r LEFT JOIN wallet.entry e ON e.order_id = r.order_id
			AND e.occurrence = r.number AND e.kind = 'refund'
		WHERE CASE r.state WHEN 'done' THEN coalesce(e.amount, 0) <> r.balance
				WHEN 'running' THEN e.amount <> r.balance ELSE e.seq IS NOT NULL END
			OR e.owner <> r.user OR e.unit <> r.currency
		UNION ALL
		SELECT e.order_id, 'wallet.entry ' || e.seq, 'the order has no such refund'
		FROM wallet.entry e LEFT JOIN "order".refund r ON r.order_id = e.order_id
			AND r.number = e.occurrence
		WHERE e.order_id IS NOT NULL AND e.kind IN ('refund', 'revoke') AND r.id IS NULL`},
	{"points", []string{"wallet", "order"}, `
		-- A paid order has granted its points, and no other has any.
		SELECT o.id, 'wallet.entry grant', printf(
			'%d points were granted for an order that is %s with %d', coalesce(e.amount, 0),
			o.state, o.points)
		FROM "order".orders o LEFT JOIN wallet.entry e ON e.order_id = o.id AND e.occurrence = 0
			AND e.kind = 'grant'
		WHERE coalesce(e.amount, 0) <> iif(o.state = 'paid', o.points, 0) OR e.owner <> o.user
		UNION ALL
		SELECT e.order_id, 'wallet.entry ' || e.seq, 'points for an order that is unknown'
		FROM wallet.entry e LEFT JOIN "order".orders o ON o.id = e.order_id
		WHERE e.order_id IS NOT NULL AND e.kind = 'grant' AND (o.id IS NULL OR e.occurrence <> 0)`},
	{"points-back", []string{"wallet", "order"}, `
		-- A refund takes its points back, or all that the user still had.
		SELECT order_id, 'wallet.entry revoke ' || number, printf(
			'%d points were taken back by a refund that is %s with %d', taken, state, points)
		FROM (SELECT r.order_id, r.number, r.state, r.points, r.user, e.seq, e.owner, e.balance,
				coalesce(-e.amount, 0) AS taken, s.data ->> 'points' AS said
			FROM "order".refund r LEFT JOIN wallet.entry e ON e.order_id = r.order_id
				AND e.occurrence = r.number AND e.kind = 'revoke'
			LEFT JOIN wallet._step s ON s.order_id = r.order_id AND s.step = 'wallet.revoke'
				AND s.occurrence = r.number)
		WHERE taken > points OR owner <> user
			OR state = 'done' AND points > 0 AND (taken IS NOT said
				OR taken < points AND coalesce(balance, 0) <> 0)
			OR state NOT IN ('done', 'running') AND seq IS NOT NULL`},
	{"returned", []string{"goods", "order"}, `
		-- Goods that came back are those of refunds; what was short is refunded.
		WITH book AS (SELECT h.order_id AS id, j.value ->> 'sku' AS sku,
				coalesce(j.value ->> 'returned', 0) + coalesce(j.value ->> 'void', 0) AS back,
				coalesce(j.value ->> 'short', 0) AS short, 0 AS done, 0 AS running, 0 AS asked
				FROM goods.hold h, json_each(h.lines) j WHERE h.state = 'sold'
			UNION ALL SELECT r.order_id, j.value ->> 'sku', 0, 0,
				iif(r.state = 'done', j.value ->> 'quantity', 0),
				iif(r.state = 'running', j.value ->> 'quantity', 0),
				iif(r.state = 'asked', j.value ->> 'quantity', 0)
				FROM "order".refund r, json_each(r.lines) j
				WHERE r.state IN ('done', 'running', 'asked'))
		SELECT id, 'goods.hold ' || sku, printf(
			'%d came back, %d were short; refunds have %d, and %d on their way', sum(back),
			sum(short), sum(done), sum(running))
		FROM book GROUP BY id, sku HAVING sum(short) > sum(done) + sum(running) + sum(asked)
			OR sum(back) NOT BETWEEN sum(done) AND sum(done) + sum(running)`},
	{"coupons-back", []string{"coupon", "order"}, `
		-- The coupon of an order of which nothing is left is open again.
		SELECT r.order_id, 'coupon.coupon ' || c.id, 'used by an order that was refunded whole'
		FROM "order".refund r JOIN coupon.coupon c ON c.order_id = r.order_id
		WHERE r.coupon <> ''`},
	{"enrolled", []string{"learning", "order"}, `
		-- Students are those of paid orders, with the units that are not refunded.
		WITH book AS (SELECT o.id, o.user, j.value ->> 'sku' AS sku,
				j.value ->> 'quantity' AS units, 0 AS have, 0 AS done, 0 AS running
				FROM "order".orders o, json_each(o.lines) j
				WHERE o.state = 'paid' AND j.value ->> 'kind' = 'course'
			UNION ALL SELECT r.order_id, r.user, j.value ->> 'sku', 0, 0,
				iif(r.state = 'done', j.value ->> 'quantity', 0),
				iif(r.state = 'running', j.value ->> 'quantity', 0)
				FROM "order".refund r, json_each(r.lines) j WHERE r.state IN ('done', 'running')
			UNION ALL SELECT order_id, user_id, sku, 0, units, 0, 0 FROM learning.enrolment
				WHERE state <> 'withdrawn')
		SELECT id, 'learning.enrolment ' || user || ' ' || sku, printf(
			'%d seats paid, %d refunded, %d on their way back; %d taken', sum(units), sum(done),
			sum(running), sum(have))
		FROM book GROUP BY id, user, sku HAVING sum(units) + sum(have) > 0 AND sum(have)
			NOT BETWEEN sum(units) - sum(done) - sum(running) AND max(0, sum(units) - sum(done))`},
	{"seats", []string{"learning"}, `
		-- A course counts its students, and has no more than seats.
		WITH book AS (SELECT sku, seats, enrolled, waiting, 0 AS book_enrolled, 0 AS book_waiting
				FROM learning.course
			UNION ALL SELECT sku, 0, 0, 0, state = 'enrolled', state = 'waiting'
				FROM learning.enrolment)
		SELECT '', 'learning.course ' || sku, printf(
			'%d seats, %d enrolled, %d waiting; its enrolments are %d and %d', sum(seats),
			sum(enrolled), sum(waiting), sum(book_enrolled), sum(book_waiting))
		FROM book GROUP BY sku HAVING sum(enrolled) <> sum(book_enrolled)
			OR sum(waiting) <> sum(book_waiting) OR sum(enrolled) > sum(seats)
				AND sum(seats) >= 0`},
	{"shipments", []string{"shipping", "order"}, `
		-- Every paid order with something to ship has a shipment, and no other.
		SELECT s.order_id, 'shipping.shipment ' || s.order_id,
			printf('%s for an order that is %s', s.state, coalesce(o.state, 'unknown'))
		FROM shipping.shipment s LEFT JOIN "order".orders o ON o.id = s.order_id
		WHERE o.state IS NOT 'paid' OR o.user <> s.user_id
		UNION ALL
		SELECT o.id, 'shipping.shipment ' || o.id, 'missing'
		FROM "order".orders o LEFT JOIN shipping.shipment s ON s.order_id = o.id
		WHERE o.state = 'paid' AND s.n IS NULL AND EXISTS (
			SELECT 1 FROM json_each(o.lines) j WHERE j.value ->> 'kind' IS NULL)`},
	{"shipped", []string{"shipping", "order"}, `
		-- A shipment has the units of its order, less those that refunds have taken out.
		WITH book AS (SELECT o.id, j.value ->> 'sku' AS sku, j.value ->> 'quantity' AS units,
				0 AS sent, 0 AS taken, 0 AS open
				FROM "order".orders o, json_each(o.lines) j
				WHERE o.state = 'paid' AND j.value ->> 'kind' IS NULL
			UNION ALL SELECT s.order_id, j.value ->> 'sku', 0,
				j.value ->> 'quantity' + coalesce(j.value ->> 'unsent', 0), 0, 0
				FROM shipping.shipment s, json_each(s.lines) j
			UNION ALL SELECT r.order_id, j.value ->> 'sku', 0, 0,
				iif(r.state = 'failed', 0, coalesce(j.value ->> 'recalled', 0)),
				CASE WHEN r.state = 'running' AND s.state = 'asked' THEN j.value ->> 'quantity'
					WHEN s.state = 'undoing' THEN coalesce(j.value ->> 'recalled', 0) ELSE 0 END
				FROM "order".refund r, json_each(r.lines) j
				LEFT JOIN "order".steps s ON s.order_id = r.order_id
					AND s.name = 'shipping.cancel' AND s.occurrence = r.number
				WHERE r.state IN ('done', 'running', 'failed'))
		SELECT b.id, 'shipping.shipment ' || b.sku, printf(
			'%d of %d units in a shipment that is %s; %d are taken out, and %d may be',
			sum(sent), sum(units), s.state, sum(taken), sum(open))
		FROM book b JOIN shipping.shipment s ON s.order_id = b.id
		GROUP BY b.id, b.sku HAVING sum(units) + sum(sent) > 0 AND sum(units) - sum(sent)
			NOT BETWEEN sum(taken) AND sum(taken) + sum(open)`},
	{"restocked", []string{"goods", "order"}, `
		-- Only what is here goes back into the stock: what had not left, or has come back.
		WITH book AS (SELECT h.order_id AS id, j.value ->> 'sku' AS sku,
				coalesce(j.value ->> 'returned', 0) - coalesce(j.value ->> 'kept', 0) AS stocked,
				0 AS here FROM goods.hold h, json_each(h.lines) j WHERE h.state = 'sold'
			UNION ALL SELECT r.order_id, j.value ->> 'sku', 0,
				CASE WHEN j.value ->> 'keep' THEN 0
					WHEN o.lines ->> ('$[' || (j.value ->> 'line') || '].kind') IS NULL
						AND NOT coalesce(j.value ->> 'returned', 0)
						THEN coalesce(j.value ->> 'recalled', 0)
					ELSE j.value ->> 'quantity' END
				FROM "order".refund r JOIN "order".orders o ON o.id = r.order_id,
					json_each(r.lines) j WHERE r.state IN ('done', 'running'))
		SELECT id, 'goods.hold ' || sku, printf(
			'%d units went back into the stock, of which %d were here', sum(stocked), sum(here))
		FROM book GROUP BY id, sku HAVING sum(stocked) > sum(here)`},
	{"pay-journal", []string{"payment", "journal"}, `
		-- Money that came and went stands in the journal.
		WITH book AS (SELECT order_id AS id, iif(kind = 'pay', 'paid or late', 'refunded') AS type,
				1 AS logged, 0 AS told FROM payment.log
			UNION ALL SELECT order_id, iif(type = 'payment.refunded', 'refunded', 'paid or late'),
				0, 1
				FROM journal.entry
				WHERE type IN ('payment.paid', 'payment.late', 'payment.refunded'))
		SELECT id, 'journal.entry payment ' || type, printf('%d events, %d rows in the pay log',
			sum(told), sum(logged))
		FROM book GROUP BY id, type HAVING sum(logged) <> sum(told)`},
	{"refund-journal", []string{"order", "journal"}, `
		-- What became of refunds stands in the journal.
		WITH book AS (SELECT order_id AS id, CASE state WHEN 'done' THEN 'order.refunded'
				ELSE 'order.refund-' || state END AS type, 1 AS made, 0 AS told
				FROM "order".refund WHERE state IN ('done', 'denied', 'failed')
			UNION ALL SELECT order_id, type, 0, 1 FROM journal.entry
				WHERE type IN ('order.refunded', 'order.refund-denied', 'order.refund-failed'))
		SELECT id, 'journal.entry ' || type, printf('%d events for %d refunds', sum(told),
			sum(made))
		FROM book GROUP BY id, type HAVING sum(made) <> sum(told)`},
}
