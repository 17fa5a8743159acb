package usage

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/inventory"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/usage"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// onBoth runs a test on an empty database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	run := func(name string, open func(t *testing.T) (*store.DB, error)) {
		t.Run(name, func(t *testing.T) {
			db, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			test(t, db)
		})
	}
	run("SQLite", func(t *testing.T) (*store.DB, error) {
		return sqlite.Open(t.Context(), sqlite.Settings{Dir: t.TempDir()})
	})
	run("PostgreSQL", func(t *testing.T) (*store.DB, error) {
		return postgres.Open(t.Context(), postgres.Settings{URL: pgtest.Database(t)})
	})
}

func add(t *testing.T, db *store.DB, counts map[usage.Key]uint64) {
	t.Helper()
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return Add(t.Context(), tx, counts) }); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, db *store.DB, q usage.Query) []usage.Row {
	t.Helper()
	if q.Bucket == 0 {
		q.Bucket = time.Hour
	}
	if q.Limit == 0 {
		q.Limit = 1000
	}
	if q.From.IsZero() {
		q.From, q.To = noon.Add(-24*time.Hour), noon.Add(24*time.Hour)
	}
	rows, more, err := Rows(t.Context(), db, q)
	if err != nil || more {
		t.Fatalf("Rows: more %t, %v", more, err)
	}
	return rows
}

func key(at time.Time, id nhi.ID, service, outcome string) usage.Key {
	return usage.Key{Start: at, Identity: id, Environment: "production", Service: service, Region: "eu-west-1", Jurisdiction: "GDPR", Basis: usage.ByRegion, Outcome: outcome}
}

func TestCountsAddUpByWhateverIsAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		for range 2 {
			add(t, db, map[usage.Key]uint64{
				key(noon, "a", "s3", "allow"): 3, key(noon, "a", "s3", "deny"): 1, key(noon, "b", "sqs", "failure"): 5, key(noon.Add(time.Hour), "a", "s3", "allow"): 7,
			})
		}
		total := ask(t, db, usage.Query{Bucket: 24 * time.Hour})
		if diff := cmp.Diff([]usage.Row{{Key: usage.Key{Start: noon.Truncate(24 * time.Hour)}, Count: 32, Refused: 12}}, total); diff != "" {
			t.Errorf("in all (-want +got):\n%s", diff)
		}
		by := ask(t, db, usage.Query{By: []usage.Dimension{usage.Identity, usage.Jurisdiction}})
		want := []usage.Row{
			{Key: usage.Key{Start: noon, Identity: "a", Jurisdiction: "GDPR", Basis: usage.ByRegion}, Count: 8, Refused: 2},
			{Key: usage.Key{Start: noon, Identity: "b", Jurisdiction: "GDPR", Basis: usage.ByRegion}, Count: 10, Refused: 10},
			{Key: usage.Key{Start: noon.Add(time.Hour), Identity: "a", Jurisdiction: "GDPR", Basis: usage.ByRegion}, Count: 14},
		}
		if diff := cmp.Diff(want, by); diff != "" {
			t.Errorf("by identity and jurisdiction (-want +got):\n%s", diff)
		}
		only := ask(t, db, usage.Query{Only: usage.Key{Identity: "a", Outcome: "deny"}})
		if len(only) != 1 || only[0].Count != 2 {
			t.Errorf("only what a was denied: %+v", only)
		}
		if got := ask(t, db, usage.Query{Within: nhi.Scopes{{Team: "pay"}}}); len(got) != 0 {
			t.Errorf("within a team that owns none of them: %+v", got)
		}
	})
}

// TestRowsComeInPagesWhileOthersComeAndGo adds a row in front of each page, and
// takes away the row on which it ended.
func TestRowsComeInPagesWhileOthersComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		hours := []time.Time{noon, noon.Add(time.Hour)}
		counts := map[usage.Key]uint64{}
		for i := range 10 {
			counts[key(hours[i%2], nhi.ID(fmt.Sprint("stays", i)), "s3", "allow")] = 1
			counts[key(hours[i%2], nhi.ID(fmt.Sprint("stays", i)), "ec2", "allow")] = 1
			counts[key(hours[i%2], nhi.ID(fmt.Sprintf("stays%d-goes", i)), "s3", "allow")] = 1
		}
		add(t, db, counts)
		q := usage.Query{From: noon, To: noon.Add(2 * time.Hour), Bucket: time.Hour, By: []usage.Dimension{usage.Identity, usage.Service}, Limit: 3}
		got := map[usage.Key]int{}
		pages := 0
		for more := true; more; pages++ {
			var rows []usage.Row
			var err error
			if rows, more, err = Rows(t.Context(), db, q); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				got[r.Key]++
			}
			last := rows[len(rows)-1].Key
			q.After = &last
			add(t, db, map[usage.Key]uint64{key(noon, nhi.ID(fmt.Sprint("a-new-one-", pages)), "s3", "allow"): 1})
			_, err = db.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), `DELETE FROM usage_hour WHERE identity = $1 AND REPLACE(identity, '-goes', '') <> identity`, last.Identity)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		for k, n := range got {
			if n > 1 {
				t.Errorf("%+v was given %d times", k, n)
			}
			if strings.HasPrefix(string(k.Identity), "stays") && !strings.HasSuffix(string(k.Identity), "-goes") {
				seen++
			}
		}
		if seen != 20 || pages < 7 {
			t.Errorf("%d of 20 rows that stayed were on %d pages", seen, pages)
		}
	})
}

// TestUsageByTeamStaysWithinTheAskersScope counts for the team that answers for
// an identity today, and shows a team's own people nothing of another's.
func TestUsageByTeamStaysWithinTheAskersScope(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		own := func(id, owner string) {
			_, err := db.Write(t.Context(), func(tx *store.Tx) error {
				return inventory.PutIdentity(t.Context(), tx, nhi.Identity{ID: nhi.ID(id), Kind: nhi.KindUser, Provider: "aws", Native: id, Name: id, State: nhi.Active, Owner: nhi.Owner{Ref: owner}})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		own("a", "team:payments")
		own("b", "team:payments")
		own("c", "team:web")
		own("d", "mara@kestrel.example")
		counts := map[usage.Key]uint64{}
		for i, id := range []nhi.ID{"a", "b", "c", "d", ""} {
			counts[key(noon, id, "s3", "allow")] = uint64(1) << i
		}
		add(t, db, counts)
		by := []usage.Dimension{usage.Team}
		for _, tt := range []struct {
			name string
			q    usage.Query
			want map[string]uint64
		}{
			{"everybody", usage.Query{By: by}, map[string]uint64{"payments": 3, "web": 4, "": 24}},
			{"one team", usage.Query{By: by, Only: usage.Key{Team: "web"}}, map[string]uint64{"web": 4}},
			{"a team's own people", usage.Query{By: by, Within: nhi.Scopes{{Team: "payments"}}}, map[string]uint64{"payments": 3}},
			{"they ask for another team", usage.Query{By: by, Within: nhi.Scopes{{Team: "payments"}}, Only: usage.Key{Team: "web"}}, map[string]uint64{}},
			{"a team that is none", usage.Query{By: by, Only: usage.Key{Team: "' OR 1=1 --"}}, map[string]uint64{}},
		} {
			got := map[string]uint64{}
			for _, r := range ask(t, db, tt.q) {
				got[r.Team] += r.Count
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		own("b", "team:web") // it moves, and its past with it
		first, more, err := Rows(t.Context(), db, usage.Query{From: noon, To: noon.Add(time.Hour), Bucket: time.Hour, By: by, Limit: 2})
		if err != nil || !more || first[1].Team != "payments" || first[1].Count != 1 {
			t.Fatalf("first page = %+v, %v, %v", first, more, err)
		}
		rest, more, err := Rows(t.Context(), db, usage.Query{From: noon, To: noon.Add(time.Hour), Bucket: time.Hour, By: by, Limit: 2, After: &first[1].Key})
		if err != nil || more || len(rest) != 1 || rest[0].Team != "web" || rest[0].Count != 6 {
			t.Errorf("second page = %+v, %v, %v", rest, more, err)
		}
	})
}

func TestACallerThatInventsServicesOpensABoundedNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		for round := range 5 {
			counts := map[usage.Key]uint64{}
			for i := range 50 {
				counts[key(noon, "a", fmt.Sprint("service-", round, "-", i), "success")] = 1
			}
			add(t, db, counts)
		}
		rows := ask(t, db, usage.Query{By: []usage.Dimension{usage.Service}})
		other, sum := uint64(0), uint64(0)
		for _, r := range rows {
			sum += r.Count
			if r.Service == usage.Other {
				other = r.Count
			}
		}
		if len(rows) != usage.Most+1 || sum != 250 || other != 250-usage.Most {
			t.Errorf("%d services, %d calls, of which %d of others, want %d, 250 and %d", len(rows), sum, other, usage.Most+1, 250-usage.Most)
		}
	})
}

func TestWhatIsOldIsKeptByDayWithoutLoss(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		counts := map[usage.Key]uint64{}
		for d := range 100 {
			for h := range 3 {
				counts[key(noon.Add(-time.Duration(d)*day+time.Duration(h)*time.Hour), "a", "s3", "allow")] = 1
			}
		}
		add(t, db, counts)
		q := usage.Query{From: noon.Add(-200 * day), To: noon.Add(day), Bucket: day}
		before := ask(t, db, q)
		for range 2 { // once more changes nothing
			if err := Compact(t.Context(), db, noon); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, ask(t, db, q)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
		add(t, db, map[usage.Key]uint64{key(noon.Add(-99*day), "a", "s3", "allow"): 2}) // a log that comes late
		if err := Compact(t.Context(), db, noon); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, db, q); got[0].Count != 5 {
			t.Errorf("the oldest day counts %d, want 5 with the late ones", got[0].Count)
		}
		if err := Compact(t.Context(), db, noon.Add(Days)); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, db, q); len(got) != 1 { // noon's own day is not older than Days
			t.Errorf("after %v %d days are left", Days, len(got))
		}
	})
}

func TestAFloodOfRefusalsIsCountedNotListed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		id := 0
		flood := func(n int, address string) {
			var all []usage.Refusal
			for range n {
				id++
				all = append(all, usage.Refusal{ID: fmt.Sprint("r", id), At: noon.Add(time.Duration(id) * time.Millisecond), Kind: usage.Denied, Address: address, Count: 1})
			}
			if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return AddRefusals(t.Context(), tx, all) }); err != nil {
				t.Fatal(err)
			}
		}
		flood(500, "203.0.113.1")
		flood(500, "203.0.113.1")
		flood(3, "203.0.113.2")
		rows, err := RefusalsBefore(context.Background(), db, 0, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		sum := uint64(0)
		for _, r := range rows {
			sum += r.Count
		}
		if len(rows) != usage.PerMinute+1+3 || sum != 1003 {
			t.Errorf("%d rows stand for %d refusals, want %d for 1003", len(rows), sum, usage.PerMinute+4)
		}
		next, err := RefusalsBefore(context.Background(), db, store.Micros(rows[0].At), rows[0].ID, 100)
		if err != nil || len(next) != len(rows)-1 {
			t.Errorf("behind the newest are %d, %v", len(next), err)
		}
	})
}

// planOf is how SQLite answers a query.
func planOf(t *testing.T, query string, args ...any) []string {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var plan []string
	err = db.Read(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			plan = append(plan, detail)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestAPageFarBehindAFloodCostsNoMoreThanTheFirst is the one who pages through
// what a flood has left: each of up to forty reads for a page goes to its place
// by the index, instead of over all that is newer.
func TestAPageFarBehindAFloodCostsNoMoreThanTheFirst(t *testing.T) {
	plan := planOf(t, refusalsBefore, store.Micros(noon), "r1", 500)
	if len(plan) != 1 || !strings.HasPrefix(plan[0], "SEARCH refusal USING INDEX refusal_by_time") {
		t.Errorf("the plan is %q, want one search by the index and no sort", plan)
	}
}

// TestEachAddressOfAFloodIsLookedUpByTheIndex is the flood from a network of
// addresses: what each new one costs the only writer does not grow with what
// was listed in the minute.
func TestEachAddressOfAFloodIsLookedUpByTheIndex(t *testing.T) {
	plan := planOf(t, listedAlone, store.Micros(noon), usage.Denied, "2001:db8::1")
	if want := "SEARCH refusal USING COVERING INDEX refusal_by_minute (minute=? AND address=? AND kind=?)"; len(plan) != 1 || plan[0] != want {
		t.Errorf("the plan is %q, want %q", plan, want)
	}
}

// TestAFloodFromOneAddressHidesNobodyWithoutOne is the flood of one who wants
// the refusals of others counted away: those that a point reports without an
// address are still listed one by one.
func TestAFloodFromOneAddressHidesNobodyWithoutOne(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		var all []usage.Refusal
		for i := range 2 * usage.PerMinute {
			all = append(all, usage.Refusal{ID: fmt.Sprint("flood", i), At: noon, Kind: usage.Denied, Address: "203.0.113.1", Count: 1})
		}
		all = append(all, usage.Refusal{ID: "theft", At: noon, Kind: usage.Denied, Identity: "nhi_settler", Operation: "GET /payments/1", Count: 1})
		for _, batch := range [][]usage.Refusal{all[:len(all)-1], all[len(all)-1:]} {
			if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return AddRefusals(t.Context(), tx, batch) }); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := RefusalsBefore(t.Context(), db, 0, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.ID == "theft" && r.Identity == "nhi_settler" {
				return
			}
		}
		t.Errorf("the one refusal without an address is not among %d rows", len(rows))
	})
}

// TestAFloodFromManyAddressesIsBounded is the flood of one who has a network of
// addresses: a new one for each attempt.
func TestAFloodFromManyAddressesIsBounded(t *testing.T) {
	defer func(n int) { kept = n }(kept)
	kept = 700
	onBoth(t, func(t *testing.T, db *store.DB) {
		const sent = 1300
		for round, n := range []int{1100, 200} {
			var all []usage.Refusal
			for i := range n {
				all = append(all, usage.Refusal{
					ID: fmt.Sprint("r", round, "-", i), At: noon.Add(time.Duration(i) * time.Microsecond), Kind: usage.FailedAuthentication,
					Address: fmt.Sprintf("2001:db8::%x:%x", round, i), Count: 1,
				})
			}
			if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return AddRefusals(t.Context(), tx, all) }); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := RefusalsBefore(t.Context(), db, 0, "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		sum, rest := uint64(0), uint64(0)
		for _, r := range rows {
			sum += r.Count
			if r.Address == "" {
				rest = r.Count
			}
		}
		if len(rows) != usage.PerMinuteInAll+1 || sum != sent || rest != sent-usage.PerMinuteInAll {
			t.Errorf("%d rows count %d refusals, %d of them in one; want %d rows that count %d", len(rows), sum, rest, usage.PerMinuteInAll+1, sent)
		}
		if err := Compact(t.Context(), db, noon); err != nil {
			t.Fatal(err)
		}
		if rows, err = RefusalsBefore(t.Context(), db, 0, "", 10_000); err != nil || len(rows) < kept || len(rows) > kept+1 {
			t.Errorf("%d rows are kept, %v; want %d", len(rows), err, kept)
		}
	})
}

func TestHostileNamesAreData(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		for _, name := range []string{"'; DROP TABLE usage_hour; --", "\x1b[2J", "=cmd()", "%_", "\u202e"} {
			add(t, db, map[usage.Key]uint64{key(noon, nhi.ID(name), name, "deny"): 1})
			if got := ask(t, db, usage.Query{Only: usage.Key{Identity: nhi.ID(name), Service: name}, By: []usage.Dimension{usage.Service}}); len(got) != 1 || got[0].Count != 1 {
				t.Errorf("%q: %+v", name, got)
			}
		}
	})
}
