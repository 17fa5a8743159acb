package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
	tables "github.com/muster-id/muster/internal/store/inventory"
)

// TestEveryListIsReadAlongAnIndex asks the engine how it answers each question:
// never by looking at the whole table, and what is not rare never by sorting
// it. Each field and each order of the language is among the questions.
func TestEveryListIsReadAlongAnIndex(t *testing.T) {
	_, db := opened(t, inventory.DefaultSettings())
	fill(t, db, 1000)
	defer func(n int) { *tables.Few = n }(*tables.Few)
	*tables.Few = 30 // of these few rows
	asked := map[string]bool{}
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			f := parsed(t, q.filter, q.order)
			for _, term := range f.Expr.Terms {
				asked[term.Field.Name] = true
			}
			asked["by "+f.Order.Field.Name] = true
			later := f
			later.After, later.Within = inventory.Cursor{Text: "m", Number: 50, ID: "nhi_5"}, nhi.Scopes{{Team: "t7"}, {Environment: "prod"}}
			explain(t, db, f)
			explain(t, db, later)
		})
	}
	for _, field := range filter.Identities.Fields {
		if !asked[field.Name] {
			t.Errorf("no question is about %s", field.Name)
		}
		if field.Order && !asked["by "+field.Name] {
			t.Errorf("no question is in the order of %s", field.Name)
		}
	}
}

func parsed(t testing.TB, text, by string) inventory.Filter {
	t.Helper()
	e, err := filter.Identities.Parse(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	order, err := filter.Identities.ParseOrder(by)
	if err != nil {
		t.Fatal(err)
	}
	return inventory.Filter{Expr: e, Order: order, Limit: 50}
}

// explain fails when the engine would look at every row, or sort what is not
// rare.
func explain(t *testing.T, db *store.DB, f inventory.Filter) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		query, args, driven, err := tables.Bind(tx).PageQuery(t.Context(), f)
		if err != nil || query == "" {
			return err
		}
		plan, err := planOf(t.Context(), tx, query, args)
		if err != nil {
			return err
		}
		for _, line := range plan {
			whole := line == "SCAN identity" || strings.Contains(line, "Seq Scan on identity ")
			sorted := strings.Contains(line, "TEMP B-TREE FOR ORDER BY") || strings.Contains(line, "Sort  (") && !strings.Contains(line, "Incremental")
			if whole || sorted && !driven {
				t.Errorf("it is answered by:\n%s\n%s", strings.Join(plan, "\n"), query)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func planOf(ctx context.Context, tx *store.Tx, query string, args []any) ([]string, error) {
	explain := "EXPLAIN QUERY PLAN "
	if enginetest.Postgres() {
		explain = "EXPLAIN "
		// PostgreSQL knows the values and has statistics: what counts is that
		// there is an index it can take. For so small a table it would not.
		const off = `SELECT SET_CONFIG('enable_' || way, 'off', TRUE) FROM (SELECT 'seqscan' AS way UNION SELECT 'bitmapscan' UNION SELECT 'sort') AS ways`
		if _, err := tx.Exec(ctx, off); err != nil {
			return nil, err
		}
	}
	rows, err := tx.QueryOnce(ctx, explain+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var line string
		to := []any{&line}
		if !enginetest.Postgres() {
			var a, b, c int
			to = []any{&a, &b, &c, &line}
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// TestTheTallyIsWhatTheRowsSay does at random what can be done to identities,
// and compares every answer with one that a walk through all of them gives.
func TestTheTallyIsWhatTheRowsSay(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	fill(t, db, 300)
	ids := []nhi.ID{}
	if err := db.Read(t.Context(), func(tx *store.Tx) error {
		for i, err := range tables.EachIdentity(t.Context(), tx) {
			if err != nil {
				return err
			}
			ids = append(ids, i.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	for n := range 60 {
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return stir(t.Context(), tx, ids[n*7%len(ids)], n) }); err != nil && n%11 != 10 {
			t.Fatal(err)
		}
	}
	all := everything(t, db)
	for _, text := range []string{"", "kind:iam-user", "-owner:*", "owner:team:t1*,team:t2", "risk>=50", "risk>49 static:true", "risk>50", "risk<=24", "-risk>=25 class:production", "risk:0", "risk:30", "risk:*", "admin:true", "-attestable:true", "state:retired", "svc environment:prod", "shadow:false risk>0"} {
		f := parsed(t, text, "")
		f.Count = true
		page, err := s.Identities(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		kinds := map[string]int{}
		for i := range all {
			if f.Expr.Match(all[i].get, func(w string) bool { return strings.Contains(all[i].Name, w) }) {
				want++
			}
			if f.Expr.Without("kind").Match(all[i].get, func(w string) bool { return strings.Contains(all[i].Name, w) }) {
				kinds[string(all[i].Kind)]++
			}
		}
		if page.Total != want || page.AtLeast || len(page.Identities) != min(want, 50) {
			t.Errorf("%q: total %d (at least: %v), %d on the page; want %d", text, page.Total, page.AtLeast, len(page.Identities), want)
		}
		facets, err := s.Facets(t.Context(), f.Expr, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, v := range facets[0].Values {
			got[v.Value] = v.Count
		}
		if facets[0].Field != "kind" || !maps.Equal(got, kinds) {
			t.Errorf("%q: kinds %v, want %v", text, got, kinds)
		}
	}
}

// Logs name the holder of a key before a connector does, and sometimes another.
func TestAKeyThatMovesToAnotherIdentityIsCountedThere(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	shadow, real := user("AIDASHADOW", "shadow", nil), user("AIDAREAL", "real", nil)
	key := nhi.Credential{ID: "crd_moves", Identity: shadow.ID, Kind: nhi.CredentialAWSAccessKey, State: nhi.CredentialActive}
	for _, holder := range []nhi.Identity{shadow, real} {
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error {
			key.Identity = holder.ID
			return errors.Join(tables.PutIdentity(t.Context(), tx, holder), tables.PutCredential(t.Context(), tx, key))
		}); err != nil {
			t.Fatal(err)
		}
		f := parsed(t, "static:true", "")
		f.Count = true
		page, err := s.Identities(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if page.Total != 1 || len(page.Identities) != 1 || page.Identities[0].ID != holder.ID {
			t.Errorf("static are %+v (%d), want %s alone", page.Identities, page.Total, holder.Name)
		}
	}
}

// stir changes an identity in one of several ways.
func stir(ctx context.Context, tx *store.Tx, id nhi.ID, n int) error {
	i, err := tables.GetIdentity(ctx, tx, id)
	if err != nil {
		return err
	}
	c := nhi.Credential{ID: nhi.CredentialID("crd_1" + string(id)), Identity: id, Kind: "aws-access-key", State: nhi.CredentialActive}
	switch n % 11 {
	case 0:
		i.State = nhi.Retired
	case 1:
		i.Owner.Ref = ""
	case 2:
		i.Risk = n * 3 % 101
	case 3:
		c.State = nhi.CredentialRevoked
	case 4:
		c.Expires = time.Now()
	case 5:
		if err := tables.Bind(tx).ReplaceGrants(ctx, id, []nhi.Grant{{ID: fmt.Sprint("g", n), Identity: id, Kind: "inline-policy", Name: "all", Admin: true}}); err != nil {
			return err
		}
	case 6:
		if err := tables.Bind(tx).ReplaceGrants(ctx, id, nil); err != nil {
			return err
		}
	case 7:
		i.ID, i.Name, i.Native = nhi.ID(fmt.Sprint("nhi_new", n)), fmt.Sprint("svc-new", n), fmt.Sprint("new", n)
		return tables.PutIdentity(ctx, tx, i)
	case 8:
		i.Environment, i.Shadow = nhi.Environment{Name: "moved", Class: nhi.ClassUnknown}, !i.Shadow
	case 9:
		i.Attestable = !i.Attestable
	case 10:
		i.Risk = 99
		if err := tables.PutIdentity(ctx, tx, i); err != nil {
			return err
		}
		return nhi.Invalidf("undone on purpose")
	}
	if err := tables.PutIdentity(ctx, tx, i); err != nil {
		return err
	}
	return tables.PutCredential(ctx, tx, c)
}

// A whole is an identity with what it holds, by a look at every row.
type whole struct {
	nhi.Identity
	static, admin bool
}

func everything(t *testing.T, db *store.DB) (out []whole) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		static := map[nhi.ID]bool{}
		for c, err := range tables.EachCredential(t.Context(), tx) {
			if err != nil {
				return err
			}
			if c.Expires.IsZero() && (c.State == nhi.CredentialActive || c.State == nhi.CredentialNarrowed) {
				static[c.Identity] = true
			}
		}
		for i, err := range tables.EachIdentity(t.Context(), tx) {
			if err != nil {
				return err
			}
			out = append(out, whole{Identity: i, static: static[i.ID]})
		}
		for n := range out {
			grants, err := tables.Bind(tx).GrantsOf(t.Context(), out[n].ID)
			if err != nil {
				return err
			}
			out[n].admin = slices.ContainsFunc(grants, func(g nhi.Grant) bool { return g.Admin })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *whole) get(field string) (string, int64) {
	flag := map[bool]int64{true: 1}
	switch field {
	case "kind":
		return string(w.Kind), 0
	case "owner":
		return w.Owner.Ref, 0
	case "class":
		return string(w.Environment.Class), 0
	case "environment":
		return w.Environment.Name, 0
	case "state":
		return string(w.State), 0
	case "risk":
		return "", int64(w.Risk)
	case "shadow":
		return "", flag[w.Shadow]
	case "static":
		return "", flag[w.static]
	case "admin":
		return "", flag[w.admin]
	case "attestable":
		return "", flag[w.Attestable]
	}
	panic(field)
}
