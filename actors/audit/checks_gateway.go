package audit

// gatewayChecks compare the pay log with the books of a sandbox that stands in
// a data directory. What the gateway is still to tell, by a notice or when it is
// asked, is left out for half an hour: an open attempt is asked about every ten
// minutes, a closed one at its next query for the last time. So is what it did
// after the newest message that the payment actor is seen to have handled, since
// its books are read last. Rows Y5, Y8.
var gatewayChecks = [...]check{
	{"gateway-pays", []string{"payment"}, `
		-- What the gateway has taken stands in the pay log.
		SELECT coalesce(a.order_id, ''), 'sandbox.trade ' || t.out_trade_no,
			printf('the gateway took %d, the pay log has %d', t.amount, coalesce(sum(l.amount), 0))
		FROM sandbox.trade t
			LEFT JOIN payment.attempt a ON a.id = t.out_trade_no AND a.provider = 'alipay'
			LEFT JOIN payment.log l ON l.order_id = a.order_id AND l.kind = 'pay'
				AND l.attempt = a.id AND substr(l.trade_no, -12) = printf('%012d', t.n)
		WHERE t.paid > 0 AND t.paid <= (SELECT now FROM payment._actor)
			GROUP BY t.n HAVING coalesce(sum(l.amount), 0) <> t.amount
			AND (a.id IS NULL OR l.seq IS NOT NULL
				OR (SELECT now FROM payment._actor) > 1800000000000
					+ max(t.paid, iif(a.state = 'open', 0, a.next_query))
				OR NOT (a.next_query > 0
					OR EXISTS (SELECT 1 FROM sandbox.notify y WHERE y.trade = t.n)
					OR EXISTS (SELECT 1 FROM payment._effect e WHERE e.state = 'open'
						AND instr(e.id, a.id) > 0)))
		UNION ALL
		SELECT l.order_id, 'payment.log ' || l.seq,
			printf('%d were captured on %s, which the gateway does not know as paid', l.amount,
				l.attempt)
		FROM payment.log l LEFT JOIN sandbox.trade t ON t.out_trade_no = l.attempt AND t.paid > 0
			AND substr(l.trade_no, -12) = printf('%012d', t.n)
		WHERE l.kind = 'pay' AND l.provider = 'alipay' AND t.n IS NULL`},
	{"gateway-refunds", []string{"payment"}, `
		-- What the gateway has sent back is what it was asked to, and the other way round.
		SELECT coalesce(r.order_id, a.order_id, ''), 'sandbox.refund ' || s.out_request_no,
			printf('the gateway sent %d back; the refund is %s with %d', s.amount,
				coalesce(r.state, 'unknown'), coalesce(r.amount, 0))
		FROM sandbox.refund s JOIN sandbox.trade t ON t.n = s.trade
			LEFT JOIN payment.attempt a ON a.id = t.out_trade_no
			LEFT JOIN payment.refund r ON r.number = s.out_request_no
		WHERE s.at <= (SELECT now FROM payment._actor) AND (r.number IS NULL
			OR r.state = 'refused' OR r.amount <> s.amount OR r.attempt <> t.out_trade_no)
		UNION ALL
		SELECT r.order_id, 'payment.refund ' || r.number,
			printf('%d are said to have gone back, but the gateway has not sent them', r.amount)
		FROM payment.refund r JOIN payment.attempt a ON a.id = r.attempt AND a.provider = 'alipay'
			LEFT JOIN sandbox.trade t ON t.out_trade_no = r.attempt
			LEFT JOIN sandbox.refund s ON s.trade = t.n AND s.out_request_no = r.number
		WHERE r.state = 'done' AND s.trade IS NULL`},
}
