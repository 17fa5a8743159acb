package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// held are the fields of filter.Credentials in SQL.
var held = filter.Columns{
	"id": "id", "identity": "identity_id", "kind": "kind", "provider": "provider", "account": "account", "public_id": "public_id",
	"state": "state", "consumer": "consumer", "risk": "risk", "created": "created", "expires": "expires", "last_used": "last_used",
	"static":      "(CASE WHEN expires = 0 THEN 1 ELSE 0 END)",
	"known":       "(CASE WHEN fingerprint <> '' THEN 1 ELSE 0 END)",
	"environment": "COALESCE((SELECT i.environment FROM identity i WHERE i.id = credential.identity_id), '')",
	"owner":       "COALESCE((SELECT i.owner FROM identity i WHERE i.id = credential.identity_id), '')",
}

// heldWord finds credentials by public id and by the words of who holds them.
func heldWord(w string, arg func(any) string) string {
	return "public_id = " + arg(w) + " OR EXISTS (SELECT 1 FROM identity i WHERE i.id = credential.identity_id AND REPLACE(' ' || i.words, " + arg(" "+strings.ToLower(w)) + ", '') <> ' ' || i.words)"
}

// Credentials returns a part of the credentials. The number of a position is
// the time that the list is ordered by.
func (s Store) Credentials(ctx context.Context, p filter.Part) (filter.Slice[nhi.Credential], error) {
	var out filter.Slice[nhi.Credential]
	err := s.db.Read(ctx, func(tx *store.Tx) (err error) {
		out, err = Tx{tx}.credentials(ctx, p)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("list credentials: %w", err)
	}
	return out, nil
}

func (t Tx) credentials(ctx context.Context, p filter.Part) (out filter.Slice[nhi.Credential], err error) {
	sign, direction := ">", ""
	if p.Order.Descending {
		sign, direction = "<", " DESC"
	}
	column, behind, args := held[p.Order.Field.Name], "1 = 1", []any{p.Limit + 1}
	order := column + direction + ", id" + direction
	switch {
	case p.After.ID == "":
	case column == "id":
		behind, args = "id "+sign+" $2", append(args, p.After.ID)
	default:
		behind, args = "("+column+", id) "+sign+" ($2, $3)", append(args, p.After.Number, p.After.ID)
	}
	if column == "id" {
		order = "id" + direction
	}
	where, more, err := heldWhere(p, len(args)+1)
	if err != nil {
		return out, err
	}
	query := `
		-- One page of the credentials that a filter describes.
		SELECT   id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		         state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM     credential
		WHERE    ` + behind + `
		AND      ` + where + `
		ORDER BY ` + order + `
		LIMIT    $1`
	if out.Rows, err = once(ctx, t.tx, query, scanCredential, append(args, more...)...); err != nil {
		return out, err
	}
	if out.More = len(out.Rows) > p.Limit; out.More {
		out.Rows = out.Rows[:p.Limit]
	}
	if p.Count {
		where, args, err := heldWhere(p, 2)
		if err != nil {
			return out, err
		}
		n, err := t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM credential WHERE "+where+" LIMIT $1) AS found", append([]any{filter.MaxCount + 1}, args...)...)
		if err != nil {
			return out, err
		}
		out.Total, out.AtLeast = min(n, filter.MaxCount), n > filter.MaxCount
	}
	return out, nil
}

func heldWhere(p filter.Part, first int) (string, []any, error) {
	where, args, err := p.Expr.SQL(held, heldWord, first)
	if err != nil {
		return "", nil, err
	}
	within, scopes := filter.Within(p.Within, held["owner"], held["environment"], first+len(args))
	return where + "\n\t\tAND " + within, append(args, scopes...), nil
}
