package goods

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// putProducts makes or changes products and SKUs, all or none. Rows C1, C2.
func putProducts(tx *actors.Tx, m *api.PutProducts) error {
	if err := checkProducts(m); err != nil {
		return err
	}
	if err := errors.Join(api.CheckBy(m.By), checkCurrency(tx, m)); err != nil {
		return err
	}
	made := map[string]bool{}
	for i := range m.Products {
		if err := checkOwner(tx, fmt.Sprintf("products[%d]", i), &m.Products[i], made); err != nil {
			return err
		}
	}
	for i := range m.Products {
		if err := putProduct(tx, &m.Products[i]); err != nil {
			return err
		}
		for j := range m.Products[i].SKUs {
			s := &m.Products[i].SKUs[j]
			if err := putSKU(tx, m.Products[i].ID, s); err != nil {
				return err
			}
			if !made[s.ID] {
				continue
			}
			if err := firstStock(tx, s, m.By); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCurrency holds all prices to the one currency of the shop, which is
// that of any SKU.
func checkCurrency(tx *actors.Tx, m *api.PutProducts) error {
	var currency string
	err := tx.Row(`SELECT currency FROM sku LIMIT 1`).Scan(&currency)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	for i := range m.Products {
		for j := range m.Products[i].SKUs {
			price := m.Products[i].SKUs[j].Price
			if currency == "" {
				currency = price.Currency
			}
			if price.Currency != currency {
				return invalid(fmt.Sprintf("products[%d].skus[%d].price", i, j),
					"the shop sells in %s, not in %s", currency, price.Currency)
			}
		}
	}
	return nil
}

// checkOwner refuses a SKU of another product and too many SKUs, and notes in
// made which SKUs are new.
func checkOwner(tx *actors.Tx, at string, p *api.Product, made map[string]bool) error {
	n := 0
	if err := tx.Row(`SELECT count(*) FROM sku WHERE product = ?`, p.ID).Scan(&n); err != nil {
		return err
	}
	for i := range p.SKUs {
		var owner string
		err := tx.Row(`SELECT product FROM sku WHERE id = ?`, p.SKUs[i].ID).Scan(&owner)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			made[p.SKUs[i].ID] = true
			n++
		case err != nil:
			return err
		case owner != p.ID:
			return invalid(fmt.Sprintf("%s.skus[%d].id", at, i),
				"SKU %s belongs to product %s", p.SKUs[i].ID, owner)
		}
	}
	if n > maxSKUs {
		return api.Refuse(api.CodeTooLarge, "the product would have more than %d SKUs", maxSKUs).
			At(at + ".skus")
	}
	return nil
}

func putProduct(tx *actors.Tx, p *api.Product) error {
	categories := p.Categories
	if categories == nil {
		categories = []string{}
	}
	if _, err := tx.Exec(`INSERT INTO product (id, name, search, categories, attributes)
		VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET name = excluded.name, search = excluded.search,
		categories = excluded.categories, attributes = excluded.attributes`,
		p.ID, p.Name, strings.ToLower(p.Name), string(api.Raw(categories)),
		pairsText(p.Attributes)); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM category WHERE product = ?`, p.ID); err != nil {
		return err
	}
	for _, c := range categories {
		for _, path := range ancestors(c) {
			if _, err := tx.Exec(`INSERT INTO category (path, product) VALUES (?, ?)
				ON CONFLICT DO NOTHING`, path, p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairsText is the column of named values: JSON, or nothing when there are
// none, which saves most readers the decoding.
func pairsText(pairs map[string]string) string {
	if len(pairs) == 0 {
		return ""
	}
	return string(api.Raw(pairs))
}

func putSKU(tx *actors.Tx, product string, s *api.SKU) error {
	_, err := tx.Exec(`INSERT INTO sku (id, product, name, options, picture, price, currency,
		max_per_order, max_per_user, off_sale, kind, policy)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET name = excluded.name, options = excluded.options,
		picture = excluded.picture, price = excluded.price, currency = excluded.currency,
		max_per_order = excluded.max_per_order, max_per_user = excluded.max_per_user,
		off_sale = excluded.off_sale, kind = excluded.kind, policy = excluded.policy`,
		s.ID, product, s.Name, pairsText(s.Options), s.Picture, s.Price.Amount, s.Price.Currency,
		s.MaxPerOrder, s.MaxPerUser, s.OffSale, s.Kind, s.Policy)
	return err
}

// firstStock opens the ledger of a new SKU.
func firstStock(tx *actors.Tx, s *api.SKU, by string) error {
	_, err := tx.Exec(`INSERT INTO stock (sku) VALUES (?)`, s.ID)
	if err != nil || s.Stock == 0 || s.Policy == api.PolicyNone {
		return err
	}
	return change(tx, api.StockEntry{SKU: s.ID, Kind: api.LedgerReceive, Stock: s.Stock,
		Cause: tx.MessageID(), Reason: "first stock", By: by})
}

// change writes a row of the ledger, by which the stock changes. The statement
// itself guards that no unit is locked or taken away that is not there: for a
// lock of n units the condition is stock - locked >= n, and where it fails the
// row lacks its prev. Handlers check before they write, so that is a fault.
// Rows C4, C7.
func change(tx *actors.Tx, e api.StockEntry) error {
	_, err := tx.Exec(`INSERT INTO ledger
		(sku, prev, kind, stock, locked, cause, reason, author, at)
		VALUES (?1, (SELECT last FROM stock WHERE sku = ?1 AND stock - locked >= ?4 - ?3),
		?2, ?3, ?4, ?5, ?6, ?7, ?8)`,
		e.SKU, e.Kind, e.Stock, e.Locked, e.Cause, e.Reason, e.By, tx.Now())
	return err
}

// changeUpTo is change for units that are not locked: by e.Stock, or by as much
// of it as there are free units to take away or room below MaxStock to add. It
// answers by how much.
func changeUpTo(tx *actors.Tx, e api.StockEntry) (n int64, err error) {
	err = tx.Row(`INSERT INTO ledger (sku, prev, kind, stock, locked, cause, reason, at)
		SELECT sku, last, ?2, max(locked - stock, min(?3, ?4 - stock)), 0, ?5, ?6, ?7
		FROM stock WHERE sku = ?1 AND max(locked - stock, min(?3, ?4 - stock)) <> 0
		RETURNING stock`,
		e.SKU, e.Kind, e.Stock, api.MaxStock, e.Cause, e.Reason, tx.Now()).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

// receiveStock adds units.
func receiveStock(tx *actors.Tx, m *api.ReceiveStock) error {
	if !isQuantity(m.Quantity) {
		return invalid("quantity", "not a number of 1 to %d", api.MaxQuantity)
	}
	return correct(tx, api.StockEntry{SKU: m.SKU, Kind: api.LedgerReceive, Stock: m.Quantity,
		Reason: m.Reason, By: m.By})
}

// adjustStock corrects the number of units, for a reason.
func adjustStock(tx *actors.Tx, m *api.AdjustStock) error {
	switch d := m.Difference; {
	case d == 0 || d < -api.MaxQuantity || d > api.MaxQuantity:
		return invalid("difference", "not a number of -%d to %[1]d, or 0", api.MaxQuantity)
	case strings.TrimSpace(m.Reason) == "":
		return invalid("reason", "a correction needs a reason")
	}
	return correct(tx, api.StockEntry{SKU: m.SKU, Kind: api.LedgerAdjust, Stock: m.Difference,
		Reason: m.Reason, By: m.By})
}

// correct changes the stock on an operator's word, within 0 to MaxStock and
// never below what is locked.
func correct(tx *actors.Tx, e api.StockEntry) error {
	if !isText(e.Reason, maxReason) {
		return invalid("reason", "not one line of at most %d characters", maxReason)
	}
	if err := api.CheckBy(e.By); err != nil {
		return err
	}
	var stock, locked int64
	err := tx.Row(`SELECT stock, locked FROM stock WHERE sku = ?`, e.SKU).Scan(&stock, &locked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return api.Refuse(api.CodeUnknownSKU, "there is no such SKU").At("sku")
	case err != nil:
		return err
	case stock+e.Stock > api.MaxStock:
		return invalid("quantity", "there would be more than %d units", api.MaxStock)
	case stock+e.Stock < locked:
		return api.Refuse(api.CodeOutOfStock, "%d units of %s are locked by orders", locked, e.SKU).
			With([]api.Shortage{{SKU: e.SKU, Wanted: -e.Stock, Left: stock - locked}})
	}
	e.Cause = tx.MessageID()
	return change(tx, e)
}

// reserveStock locks all lines of an order, or none. Lines whose policy is not
// to lock are only checked. Rows C4, C5, C6, C9, S3.
func reserveStock(tx *actors.Tx, m *api.ReserveStock) error {
	return tx.Do(m.Step, func() (any, error) {
		if err := checkLines(m); err != nil {
			return nil, err
		}
		wants, err := readWants(tx, m)
		if err != nil {
			return nil, err
		}
		if err := checkWants(m, wants); err != nil {
			return nil, err
		}
		data, err := snapshots(m, wants)
		if err != nil {
			return nil, err
		}
		return data, lock(tx, m, wants)
	})
}

func readWants(tx *actors.Tx, m *api.ReserveStock) (*wantList, error) {
	w := &wantList{skus: make([]want, 0, len(m.Lines)), at: make([]int, len(m.Lines))}
	places := make(map[string]int, len(m.Lines))
	for i, l := range m.Lines {
		place, ok := places[l.SKU]
		if !ok {
			place = len(w.skus)
			places[l.SKU] = place
			w.skus = append(w.skus, want{held: held{SKU: l.SKU}})
			if err := readWant(tx, m.User, &w.skus[place]); err != nil {
				return nil, err
			}
		}
		w.skus[place].Quantity += l.Quantity
		w.at[i] = place
	}
	return w, nil
}

func readWant(tx *actors.Tx, user string, w *want) error {
	var options string
	s := &w.item
	err := tx.Row(`SELECT s.product, s.name, s.options, s.picture, s.price, s.currency,
		s.max_per_order, s.max_per_user, s.kind, s.policy, k.stock - k.locked
		FROM sku s JOIN stock k ON k.sku = s.id WHERE s.id = +? AND NOT s.off_sale`, w.SKU).
		Scan(&s.Product, &s.Name, &options, &s.Picture, &s.Price.Amount, &s.Price.Currency,
			&w.maxPerOrder, &w.maxPerUser, &s.Kind, &w.Policy, &w.left)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.SKU = w.SKU
	if s.Options, err = readPairs(options); err != nil || w.maxPerUser == 0 {
		return err
	}
	w.Counted = true
	err = tx.Row(`SELECT units FROM taken WHERE sku = ? AND user_id = ?`, w.SKU, user).
		Scan(&w.taken)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func lock(tx *actors.Tx, m *api.ReserveStock, w *wantList) error {
	lines := make([]held, len(w.skus))
	for i := range w.skus {
		s := &w.skus[i]
		lines[i] = s.held
		if s.Policy == api.PolicyOrder {
			if err := change(tx,
				api.StockEntry{SKU: s.SKU, Kind: api.LedgerLock, Locked: s.Quantity,
					Cause: m.Order}); err != nil {
				return err
			}
		}
		if !s.Counted {
			continue
		}
		if _, err := tx.Exec(`INSERT INTO taken (sku, user_id, units) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET units = units + excluded.units`,
			s.SKU, m.User, s.Quantity); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`INSERT INTO hold (order_id, step, occurrence, user_id, state, lines)
		VALUES (?, ?, ?, ?, 'held', ?)`,
		m.Order, m.Name, m.Occurrence, m.User, string(api.Raw(lines)))
	return err
}

// releaseStock unlocks what the step locked. What was sold in the meantime
// stays sold. Row S8.
func releaseStock(tx *actors.Tx, m *api.ReleaseStock) error {
	return tx.Undo(m.Step, func() error {
		var user, text string
		err := tx.Row(`DELETE FROM hold WHERE order_id = ? AND step = ? AND occurrence = ?
			AND state = 'held' RETURNING user_id, lines`, m.Order, m.Name, m.Occurrence).
			Scan(&user, &text)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return unlock(tx, m.Order, user, text)
	})
}

func unlock(tx *actors.Tx, order, user, text string) error {
	lines, err := readHeld(text)
	if err != nil {
		return err
	}
	for i := range lines {
		l := &lines[i]
		if l.Policy == api.PolicyOrder {
			if err := change(tx, api.StockEntry{SKU: l.SKU, Kind: api.LedgerUnlock,
				Locked: -l.Quantity, Cause: order}); err != nil {
				return err
			}
		}
		if err := uncount(tx, user, l, l.Quantity); err != nil {
			return err
		}
	}
	return nil
}

// uncount takes units that a user does not have any more off what counts
// against the limit per user. Row C9.
func uncount(tx *actors.Tx, user string, l *held, units int64) error {
	if !l.Counted || units == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE taken SET units = units - ? WHERE sku = ? AND user_id = ?`,
		units, l.SKU, user)
	return err
}

// holdReader collects holds from rows of step, occurrence, user_id and lines.
type holdReader struct{ holds []hold }

func (c *holdReader) read(r actors.Row) error {
	var h hold
	var text string
	err := r.Scan(&h.step, &h.occurrence, &h.user, &text)
	if err == nil {
		h.lines, err = readHeld(text)
	}
	c.holds = append(c.holds, h)
	return err
}

// keepHold writes what has become of a hold's lines.
func keepHold(tx *actors.Tx, order string, h *hold) error {
	_, err := tx.Exec(`UPDATE hold SET lines = ? WHERE order_id = ? AND step = ?
		AND occurrence = ?`,
		string(api.Raw(h.lines)), order, h.step, h.occurrence)
	return err
}

// sellStock takes what the order holds out of the stock. It refuses with
// CodeNotFound when the order holds nothing, or not any more. What is short of
// PolicyPayment does not count as bought. Row C6.
func sellStock(tx *actors.Tx, m *api.SellStock) error {
	return tx.Do(m.Step, func() (any, error) {
		var c holdReader
		if err := tx.Each(c.read, `UPDATE hold SET state = 'sold' WHERE order_id = ?
			AND state = 'held' RETURNING step, occurrence, user_id, lines`, m.Order); err != nil {
			return nil, err
		}
		if len(c.holds) == 0 {
			return nil, api.Refuse(api.CodeNotFound, "order %s has no stock reserved", m.Order)
		}
		var sold api.Sold
		for i := range c.holds {
			if err := sellHold(tx, m.Order, &c.holds[i], &sold); err != nil {
				return nil, err
			}
		}
		return &sold, nil
	})
}

func sellHold(tx *actors.Tx, order string, h *hold, sold *api.Sold) error {
	before := len(sold.Short)
	for i := range h.lines {
		l := &h.lines[i]
		if err := sellLine(tx, order, l); err != nil {
			return err
		}
		if l.Short == 0 {
			continue
		}
		sold.Short = append(sold.Short, api.CartTake{SKU: l.SKU, Quantity: l.Short})
		if err := uncount(tx, h.user, l, l.Short); err != nil {
			return err
		}
	}
	if len(sold.Short) == before {
		return nil
	}
	return keepHold(tx, order, h)
}

// sellLine takes the units of one SKU out of the stock by the policy under
// which they were reserved, whatever the SKU's is now, and notes what is short.
func sellLine(tx *actors.Tx, order string, l *held) error {
	e := api.StockEntry{SKU: l.SKU, Kind: api.LedgerSell, Stock: -l.Quantity, Cause: order}
	switch l.Policy {
	case api.PolicyOrder:
		e.Locked = -l.Quantity
		return change(tx, e)
	case api.PolicyPayment:
		n, err := changeUpTo(tx, e)
		l.Short = l.Quantity + n
		return err
	}
	return nil
}

// returnStock takes units back that the order has bought. Row Y9.
func returnStock(tx *actors.Tx, m *api.ReturnStock) error {
	return tx.Do(m.Step, func() (any, error) {
		var c holdReader
		if err := tx.Each(c.read, `SELECT step, occurrence, user_id, lines FROM hold
			WHERE order_id = ? AND state = 'sold'`, m.Order); err != nil {
			return nil, err
		}
		left := slices.Clone(m.Lines)
		for i := range c.holds {
			if err := returnHold(tx, m.Order, &c.holds[i], left); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

// returnHold takes back what it can to one hold, and leaves the rest in left.
func returnHold(tx *actors.Tx, order string, h *hold, left []api.ReturnLine) error {
	came := h.takeBack(left)
	if came == nil {
		return nil
	}
	for i, b := range came {
		l := &h.lines[i]
		if b.stock > 0 && l.Policy != api.PolicyNone {
			n, err := changeUpTo(tx, api.StockEntry{SKU: l.SKU, Kind: api.LedgerReturn,
				Stock: b.stock, Cause: order})
			if err != nil {
				return err
			}
			l.Kept += b.stock - n // there was no room for them
		}
		if err := uncount(tx, h.user, l, b.units); err != nil {
			return err
		}
	}
	return keepHold(tx, order, h)
}
