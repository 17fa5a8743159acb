package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/signals/receive"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/snapshot"
	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

// A growing list is one to which rows are added, and from which some are
// taken, while it is read.
type growing struct {
	route  string // of the list
	path   string // with parameters; empty: that of the route
	by     *client.Client
	orders []string        // besides its own
	add    func(n int)     // the nth row; times are often equal
	drop   func(id string) // takes a row away; nil: nothing ever is
}

// sql is a statement about one row.
func (r *running) sql(text string) func(id string) {
	return func(id string) {
		r.t.Helper()
		_, err := r.db.Write(r.t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(r.t.Context(), text, id)
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// tied is a time that three rows have.
func tied(n int) time.Time {
	return time.Now().Add(-time.Hour).Truncate(time.Hour).Add(time.Duration(n/3) * time.Second)
}

// name is in another order than rows come.
func name(n int) string { return fmt.Sprintf("%c-row-%d", 'a'+n*7%26, n) }

// silent is a channel with a name that carries nothing.
type silent string

func (s silent) Name() string { return "webhook:" + string(s) }

func (s silent) Send(context.Context, nhi.Notice) error { return nil }

func (h *household) lists() []growing {
	var library []client.LibraryFile
	t, ctx := h.t, h.t.Context()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(add func(tx *store.Tx) error) {
		t.Helper()
		_, err := h.db.Write(ctx, add)
		do(err)
	}
	who := nhi.ID(h.key.Identity)
	browse := func(int) {
		link, err := h.access.NewLink(ctx, access.Caller{Kind: access.Session, Person: h.person, Permits: access.PermitsOf([]access.Grant{{Role: access.Admin}})})
		do(err)
		_, err = h.access.SignIn(ctx, httptest.NewRequest("GET", "/signin", nil), link)
		do(err)
	}
	var channels []notify.Route
	var peers []receive.Peer
	token := filepath.Join(t.TempDir(), "token")
	do(os.WriteFile(token, []byte("a-token-of-some-length\n"), 0o600))
	return []growing{
		{route: "GET /v1/identities", path: "/v1/identities?filter=owner:team:paged", orders: []string{"-name", "-risk", "created", "last_used"}, drop: func(id string) {
			h.sql(`DELETE FROM owner_evidence WHERE identity_id = $1`)(id)
			h.sql(`DELETE FROM identity WHERE id = $1`)(id)
		}, add: func(n int) {
			do(only(h.api.CreateIdentity(ctx, client.CreateIdentity{Name: name(n), Environment: "production", Owner: "team:paged"})))
		}},
		{route: "GET /v1/credentials", orders: []string{"-created", "expires", "-last_used", "-id"}, drop: h.sql(`DELETE FROM credential WHERE id = $1`), add: func(n int) {
			do(only(h.api.CreateCredential(ctx, h.key.Identity, client.CreateCredential{ExpiresIn: int64(n % 3 * 3600)})))
		}},
		{route: "GET /v1/findings", orders: []string{"-at", "at", "severity"}, drop: h.sql(`DELETE FROM finding WHERE id = $1`), add: func(n int) {
			severity := []nhi.Severity{nhi.Info, nhi.Low}[n%2]
			do(h.respond.Found(ctx, []nhi.Finding{{ID: "fnd_" + name(n), Rule: "TEST", Severity: severity, Status: nhi.Open, Identity: who, DetectedAt: tied(n)}}))
		}},
		{route: "GET /v1/actions", drop: h.sql(`DELETE FROM action WHERE id = $1`), add: func(n int) {
			a := nhi.Action{ID: "act_" + name(n), Measure: nhi.MeasureNarrow, Status: nhi.ActionProposed, Identity: who, Credential: "crd_none", At: tied(n)}
			body, err := json.Marshal(a)
			do(err)
			write(func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO action (id, key, status, credential, at, body) VALUES ($1, $1, $2, $3, $4, $5)`, a.ID, string(a.Status), string(a.Credential), store.Micros(a.At), string(body))
				return err
			})
		}},
		{route: "GET /v1/approvals", orders: []string{"at"}, drop: h.sql(`DELETE FROM approval WHERE id = $1`), add: func(n int) {
			do(h.approvals.Put(ctx, nhi.Approval{ID: "apr_" + name(n), State: nhi.ApprovalPending, Identity: who, Asked: tied(n), Expires: time.Now().Add(time.Hour)}))
		}},
		{route: "GET /v1/refusals", drop: h.sql(`DELETE FROM refusal WHERE id = $1`), add: func(n int) {
			write(func(tx *store.Tx) error {
				return storeusage.AddRefusals(ctx, tx, []usage.Refusal{{ID: "rfs_" + name(n), At: tied(n), Kind: usage.Denied, Identity: who, Address: fmt.Sprint("192.0.2.", n), Count: 1}})
			})
		}},
		{route: "GET /v1/usage", path: "/v1/usage?by=identity,service", drop: func(row string) {
			var r client.UsageRow
			do(json.Unmarshal([]byte(row), &r))
			h.sql(`DELETE FROM usage_hour WHERE service = $1`)(r.Service)
		}, add: func(n int) {
			write(func(tx *store.Tx) error {
				at := time.Now().UTC().Truncate(time.Hour).Add(-time.Duration(n%4) * time.Hour)
				return storeusage.Add(ctx, tx, map[usage.Key]uint64{{Start: at, Identity: who, Service: name(n), Outcome: "allow"}: 1})
			})
		}},
		{route: "GET /v1/decisions", add: func(n int) { h.ask(h.point, "Bearer "+h.key.Key, "GET", "/payments/1", "203.0.113.7") }},
		{route: "GET /v1/audit", add: func(n int) {
			do(only(h.api.SetOwner(ctx, h.key.Identity, client.SetOwner{Owner: fmt.Sprint("team:", n)})))
		}},
		{route: "GET /v1/identities/{id}/changes", path: "/v1/identities/" + h.key.Identity + "/changes", add: func(n int) {
			do(only(h.api.SetOwner(ctx, h.key.Identity, client.SetOwner{Owner: fmt.Sprint("team:", n)})))
			do(only(h.api.CreateIdentity(ctx, client.CreateIdentity{Name: name(n), Environment: "production"})))
		}},
		{route: "GET /v1/points", orders: []string{"-name", "created"}, drop: h.sql(`DELETE FROM point WHERE id = $1`), add: func(n int) {
			do(only(h.api.EnrollPoint(ctx, client.EnrollPoint{Name: name(n)})))
		}},
		{route: "GET /v1/sources", orders: []string{"-name", "-created"}, drop: h.sql(`DELETE FROM source WHERE id = $1`), add: func(n int) {
			do(only(h.api.AddSource(ctx, client.AddSource{Name: name(n), Format: "text"})))
		}},
		{route: "GET /v1/people", path: "/v1/people?filter=-name:ada", orders: []string{"-name", "email", "-signed_in"}, drop: h.sql(`DELETE FROM person WHERE id = $1`), add: func(n int) { h.signed(name(n)) }},
		{route: "GET /v1/tokens", path: "/v1/tokens?filter=right:read", orders: []string{"created", "used", "-name"}, drop: h.sql(`DELETE FROM operator_token WHERE key_id = $1`), add: func(n int) {
			do(only(h.api.CreateToken(ctx, client.CreateToken{Name: name(n), Rights: []string{"read"}})))
		}},
		{route: "GET /v1/sessions", by: h.ada, orders: []string{"created", "-used"}, drop: func(id string) { do(h.ada.EndSession(ctx, id)) }, add: browse},
		{route: "GET /v1/snapshots", orders: []string{"sequence"}, add: func(n int) {
			at := h.inForce()
			do(only(snapshot.New(h.db).Add(ctx, snapshot.Entry{Snapshot: nhi.Snapshot{Digest: fmt.Sprintf("%064d", n%3), Parent: at.Digest, State: nhi.SnapshotOutdated, At: tied(n)}}, nil)))
		}},
		{route: "GET /v1/policies", orders: []string{"id", "-id"}, add: func(n int) {
			library = append(library, client.LibraryFile{Name: "policies/" + name(n) + ".cedar", Text: narrow(name(n))})
			do(only(h.api.PutSnapshot(ctx, client.PutSnapshot{Files: library})))
		}},
		{route: "GET /v1/views", orders: []string{"-name", "-updated"}, drop: func(id string) { do(h.api.DeleteView(ctx, id)) }, add: func(n int) {
			do(only(h.api.PutView(ctx, name(n), client.PutView{Name: name(n % 5), Page: "identities"})))
		}},
		{route: "GET /v1/signals/streams", orders: []string{"-created"}, drop: h.sql(`DELETE FROM signal_stream WHERE id = $1`), add: func(n int) {
			h.newStream(h.receiver(name(n), "*").Key, `{}`)
		}},
		{route: "GET /v1/signals/peers", orders: []string{"-name", "last_heard"}, add: func(n int) {
			peers = append(peers, receive.Peer{Name: name(n), TokenFile: token})
			commit, err := h.signals.Prepare(receive.Settings{Peers: slices.Clone(peers)})
			do(err)
			commit()
		}},
		{route: "GET /v1/channels", orders: []string{"-name", "last_sent"}, add: func(n int) {
			channels = append(channels, notify.Route{Channel: silent(name(n)), Least: nhi.Critical})
			h.router.Replace(slices.Clone(channels))
		}},
	}
}

// A page is what a reply has of any list.
type page struct {
	Items []map[string]any `json:"items"`
	Rows  []map[string]any `json:"rows"`
	Next  string           `json:"next"`
	Next2 string           `json:"next_page_token"`
}

// ids are the ids of a page's rows; a row without one is itself without what
// is counted in it.
func (p page) ids(t *testing.T) (out []string) {
	t.Helper()
	for _, row := range append(p.Items, p.Rows...) {
		switch {
		case row["id"] != nil:
			out = append(out, row["id"].(string))
		case row["seq"] != nil:
			out = append(out, fmt.Sprint(row["seq"]))
		default:
			delete(row, "count")
			delete(row, "denied")
			b, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
	}
	return out
}

func (g *growing) page(t *testing.T, h *household, order, token string, limit int) (ids []string, next string) {
	t.Helper()
	path, query, _ := strings.Cut(g.path, "?")
	if path == "" {
		_, path, _ = strings.Cut(g.route, " ")
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q.Set("limit", fmt.Sprint(limit))
	for name, v := range map[string]string{"order": order, "page_token": token} {
		if v != "" {
			q.Set(name, v)
		}
	}
	by := g.by
	if by == nil {
		by = h.api
	}
	var p page
	if err := by.Get(t.Context(), path, q, &p); err != nil {
		t.Fatalf("%s by %q: %v", g.route, order, err)
	}
	return p.ids(t), p.Next + p.Next2
}

// TestNoRowIsMissedOrGivenTwice reads every list by small pages. Behind each
// page a row is added and, where rows can go, the row on which the page ended
// is taken away, which is the place from where the next one goes on. A new list
// with pages fails here until it is in the table.
func TestNoRowIsMissedOrGivenTwice(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	paged := map[string]bool{}
	for route, o := range h.operations() {
		for _, p := range o.Parameters {
			if p.Name == "page_token" {
				paged[route] = true
			}
		}
	}
	n := 0
	for _, g := range h.lists() {
		if !paged[g.route] {
			t.Errorf("%s has no pages", g.route)
		}
		delete(paged, g.route)
		for range 16 {
			g.add(n)
			n++
		}
		for _, order := range append([]string{""}, g.orders...) {
			g.read(t, h, order, &n)
		}
	}
	delete(paged, "GET /v1/decisions/export") // files, not pages: TestDecisionsAreExportedAndThatIsOnRecord
	for route := range paged {
		t.Errorf("%s has pages, and is not in the table: show that it misses no row", route)
	}
}

// read reads the list to its end while it changes. n is the number of the next
// row.
func (g *growing) read(t *testing.T, h *household, order string, n *int) {
	there, next := g.page(t, h, order, "", 500)
	if len(there) < 10 || next != "" {
		t.Fatalf("%s by %q: %d rows to begin with, more %v", g.route, order, len(there), next != "")
	}
	mayGo, given := map[string]bool{}, map[string]int{}
	for i, id := range there {
		if given[id]++; given[id] > 1 {
			t.Fatalf("%s by %q: %s is given twice at once", g.route, order, id)
		}
		mayGo[id] = g.drop != nil && i > 1 && i%3 == 2 // the last one of a page of three
	}
	clear(given)
	for token, pages := "", 0; ; pages++ {
		ids, next := g.page(t, h, order, token, 3)
		for _, id := range ids {
			given[id]++
		}
		if next == "" {
			break
		}
		if pages > 3*len(there) {
			t.Fatalf("%s by %q has no end", g.route, order)
		}
		token = next
		g.add(*n)
		*n++
		if last := len(ids) - 1; last >= 0 && mayGo[ids[last]] {
			g.drop(ids[last])
		}
	}
	for id, times := range given {
		if times > 1 {
			t.Errorf("%s by %q: %s was given %d times", g.route, order, id, times)
		}
	}
	for _, id := range there {
		if given[id] == 0 && !mayGo[id] {
			t.Errorf("%s by %q: %s was there from beginning to end, and missed", g.route, order, id)
		}
	}
}
