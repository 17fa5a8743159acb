package respond

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// columns are the fields of filter.Findings in SQL. A finding about nobody has
// an identity without fields.
var columns = filter.Columns{
	"id": "id", "rule": "rule", "status": "status", "identity": "identity", "credential": "credential", "at": "detected",
	"severity":    "(CASE rank WHEN 4 THEN 'critical' WHEN 3 THEN 'high' WHEN 2 THEN 'medium' WHEN 1 THEN 'low' ELSE 'info' END)",
	"kind":        "COALESCE((SELECT i.kind FROM identity i WHERE i.id = finding.identity), '')",
	"environment": "COALESCE((SELECT i.environment FROM identity i WHERE i.id = finding.identity), '')",
	"owner":       "COALESCE((SELECT i.owner FROM identity i WHERE i.id = finding.identity), '')",
}

// word finds findings by rule, id, and the name of the identity.
func word(w string, arg func(any) string) string {
	return "rule = " + arg(w) + " OR id = " + arg(w) + " OR EXISTS (SELECT 1 FROM identity i WHERE i.id = finding.identity AND REPLACE(' ' || i.words, " + arg(" "+strings.ToLower(w)) + ", '') <> ' ' || i.words)"
}

// List returns a part of the findings. The number of a position is when a
// finding was detected; in the order of severity its text is the rank.
func (s *Store) List(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error) {
	var out filter.Slice[nhi.Finding]
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		behind, args, err := after(p)
		if err != nil {
			return err
		}
		where, more, err := narrowed(p, len(args)+1)
		if err != nil {
			return err
		}
		direction := ""
		if p.Order.Descending {
			direction = " DESC"
		}
		order := "detected" + direction + ", id" + direction
		if p.Order.Field.Name == "severity" {
			order = "rank" + direction + ", " + order
		}
		query := `
			-- One page of the findings that a filter describes.
			SELECT   body
			FROM     finding
			WHERE    ` + behind + `
			AND      ` + where + `
			ORDER BY ` + order + `
			LIMIT    $1`
		if out.Rows, err = once[nhi.Finding](ctx, tx, query, append(args, more...)...); err != nil {
			return err
		}
		if out.More = len(out.Rows) > p.Limit; out.More {
			out.Rows = out.Rows[:p.Limit]
		}
		if p.Count {
			out.Total, out.AtLeast, err = count(ctx, tx, p)
		}
		return err
	})
	if err != nil {
		return out, fmt.Errorf("list findings: %w", err)
	}
	return out, nil
}

// after is the predicate of what lies behind a position; $1 is the limit.
func after(p filter.Part) (string, []any, error) {
	args := []any{p.Limit + 1}
	if p.After.ID == "" {
		return "1 = 1", args, nil
	}
	sign := ">"
	if p.Order.Descending {
		sign = "<"
	}
	if p.Order.Field.Name != "severity" {
		return "(detected, id) " + sign + " ($2, $3)", append(args, p.After.Number, p.After.ID), nil
	}
	rank, err := strconv.Atoi(p.After.Text)
	if err != nil {
		return "", nil, nhi.Invalidf("page_token is not one that this list gave")
	}
	return "(rank, detected, id) " + sign + " ($2, $3, $4)", append(args, rank, p.After.Number, p.After.ID), nil
}

// narrowed is the predicate of filter and scopes.
func narrowed(p filter.Part, first int) (string, []any, error) {
	where, args, err := p.Expr.SQL(columns, word, first)
	if err != nil {
		return "", nil, err
	}
	within, scopes := filter.Within(p.Within, columns["owner"], columns["environment"], first+len(args))
	return where + "\n\t\tAND " + within, append(args, scopes...), nil
}

func count(ctx context.Context, tx *store.Tx, p filter.Part) (int, bool, error) {
	where, args, err := narrowed(p, 2)
	if err != nil {
		return 0, false, err
	}
	rows, err := tx.QueryOnce(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM finding WHERE "+where+" LIMIT $1) AS found", append([]any{filter.MaxCount + 1}, args...)...)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	n := 0
	if rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, false, err
		}
	}
	return min(n, filter.MaxCount), n > filter.MaxCount, rows.Err()
}

// once reads the bodies that a query yields that was put together for one
// question.
func once[T any](ctx context.Context, tx *store.Tx, query string, args ...any) ([]T, error) {
	rows, err := tx.QueryOnce(ctx, query, args...)
	return bodies[T](rows, err)
}

// Rank is the place of a severity in the order of findings.
func Rank(s nhi.Severity) int { return severity[s] }

// ActionsBefore returns up to limit actions behind a position, the newest
// first; its number is in microseconds. An empty id means from the newest.
func (s *Store) ActionsBefore(ctx context.Context, micros int64, id string, limit int) ([]nhi.Action, error) {
	var out []nhi.Action
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Action](ctx, tx, `
			SELECT   body
			FROM     action
			WHERE    $2 = ''
			OR       at < $1
			OR       (at = $1 AND id > $2)
			ORDER BY at DESC, id
			LIMIT    $3`, micros, id, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list actions: %w", err)
	}
	return out, nil
}
