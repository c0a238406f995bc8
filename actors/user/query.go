package user

import (
	"encoding/json"
	"errors"
	"strings"

	"ordo/actors"
	"ordo/api"
)

func getUser(v *actors.View, q *api.GetUser) (*api.Account, error) {
	var row actors.Row
	if q.ID != "" {
		row = v.Row(`SELECT id, email, name, role, password_hash, created FROM user WHERE id = +?`,
			q.ID)
	} else {
		row = v.Row(`SELECT id, email, name, role, password_hash, created FROM user
			WHERE email = +?`, strings.ToLower(q.Email))
	}
	var a api.Account
	err := row.Scan(&a.ID, &a.Email, &a.Name, &a.Role, &a.PasswordHash, &a.Created)
	if errors.Is(err, actors.ErrNoRows) {
		return nil, noUser()
	}
	return &a, err
}

func listAddresses(v *actors.View, q *api.ListAddresses) (*api.AddressList, error) {
	list := &api.AddressList{Addresses: []api.Address{}}
	err := v.Each(func(r actors.Row) error {
		var a api.Address
		var lines string
		if err := r.Scan(&a.ID, &a.Name, &a.Phone, &lines, &a.City, &a.Postcode, &a.Country,
			&a.Default); err != nil {
			return err
		}
		list.Addresses = append(list.Addresses, a)
		return json.Unmarshal([]byte(lines), &list.Addresses[len(list.Addresses)-1].Lines)
	}, `SELECT id, name, phone, lines, city, postcode, country, is_default FROM address
		WHERE user = +? ORDER BY is_default DESC, n LIMIT +?`, q.User, api.MaxAddresses)
	return list, err
}

func listRevocations(v *actors.View, q *api.ListRevocations) (*api.RevocationList, error) {
	list := &api.RevocationList{Revocations: []api.Revocation{}}
	err := v.Each(func(r actors.Row) error {
		var item api.Revocation
		if err := r.Scan(&item.Seq, &item.User, &item.Session, &item.Before); err != nil {
			return err
		}
		list.Revocations = append(list.Revocations, item)
		return nil
	}, `SELECT seq, user, coalesce(session, ''), before FROM revocation
		WHERE seq > ? ORDER BY seq LIMIT +?`, q.After, api.MaxRevocations)
	return list, err
}
