package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Fill writes rows of every kind of column into db, with values that are hard
// to keep, and leaves a sequence with forgotten changes. The same seed makes
// the same rows.
func Fill(t *testing.T, db *store.DB, seed uint64) {
	t.Helper()
	ctx := t.Context()
	random := rand.New(rand.NewPCG(seed, 1))
	hostile := []string{"", "plain", "'; DROP TABLE identity; --", "a\x00b", "\xff\xfe", "\u202egnp.exe", "\U0010FFFF", "ä\r\n\t\"\\", strings.Repeat("x", 64<<10), "<script>", "=1+1"}
	text := func() string { return hostile[random.IntN(len(hostile))] }
	for i := range 40 {
		_, err := db.Write(ctx, func(tx *store.Tx) error {
			body := make([]byte, random.IntN(300))
			for n := range body {
				body[n] = byte(random.Uint32())
			}
			if _, err := tx.PutDocument(ctx, fmt.Sprint("document ", i, text()), body); err != nil {
				return err
			}
			if err := tx.SetPosition(ctx, fmt.Sprint(i), random.Uint64()>>1); err != nil {
				return err
			}
			const identity = `
				INSERT INTO identity (id, kind, provider, account, native, name, path, environment, class, purpose,
				            state, shadow, owner, owner_confidence, owner_source, risk, labels,
				            created, first_seen, last_seen, attestable, not_before, alias, observed, missed, words)
				VALUES      ($1, 'user', 'aws', $2, $3, $4, '', '', 'unknown', '', 'active', 0, '', $5, '', 0, '', $6, 0, 0, 0, 0, '', 0, 0, '')`
			id := fmt.Sprint("nhi_", i)
			_, err := tx.Exec(ctx, identity, id, text(), text(), text(), random.Float64(), random.Int64()-random.Int64())
			if err != nil {
				return err
			}
			var verifier []byte
			if i%2 == 0 {
				verifier = body
			}
			const credential = `
				INSERT INTO credential (id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
				            state, reason, consumer, native, created, expires, rotated, last_used, risk)
				VALUES      ($1, $2, 'k', '', '', '', $3, '', 'active', $4, '', '', 0, 0, 0, 0, 7)`
			if _, err := tx.Exec(ctx, credential, fmt.Sprint("crd_", i), id, verifier, text()); err != nil {
				return err
			}
			return tx.Change("test", text(), map[string]string{"v": text()})
		})
		if err != nil {
			t.Fatalf("fill: %v", err)
		}
	}
	if n, err := db.Forget(ctx, time.Now().Add(time.Hour), 5); err != nil || n != 5 {
		t.Fatalf("forget: %d, %v", n, err)
	}
}

// Dump returns the stream of db without its first and last line, which name
// the moment.
func Dump(t *testing.T, db *store.DB) (whole, rows string) {
	t.Helper()
	var b bytes.Buffer
	if _, err := db.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	return b.String(), strings.Join(lines[1:len(lines)-2], "")
}

func (k Kit) transfer(t *testing.T) {
	from := k.fresh(t)
	Fill(t, from, 1)
	whole, want := Dump(t, from)
	to := k.fresh(t)
	head, err := to.Import(t.Context(), strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := Dump(t, to); got != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
	if to.Generation() != from.Generation() || to.First() != from.First() || head.Generation != from.Generation() || head.Rows == 0 {
		t.Errorf("generation %d and first change %d, want %d and %d; header %+v", to.Generation(), to.First(), from.Generation(), from.First(), head)
	}
	if g := mustPut(t, to, "after", 1); g != from.Generation()+1 {
		t.Errorf("the next change is %d after %d", g, from.Generation())
	}
	if _, err := to.Import(t.Context(), strings.NewReader(whole)); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a second import: %v", err)
	}
}

// older imports what a program before migration 14 wrote, whose rows have
// neither static nor admin and of which nothing was counted: the migration's
// work on rows is done to them, too.
func (k Kit) older(t *testing.T) {
	from := k.fresh(t)
	Fill(t, from, 3)
	whole, _ := Dump(t, from)
	to := k.fresh(t)
	if _, err := to.Import(t.Context(), strings.NewReader(before14(t, whole))); err != nil {
		t.Fatal(err)
	}
	count := func(query string) (n int) {
		t.Helper()
		err := to.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(t.Context(), query).Scan(&n) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// Each of the 40 identities of Fill has one key that is active and never ends.
	if n := count(`SELECT COUNT(*) FROM identity WHERE static = 1 AND admin = 0`); n != 40 {
		t.Errorf("%d identities are known by their static keys, want 40", n)
	}
	if n := count(`SELECT COALESCE(SUM(n), 0) FROM identity_tally WHERE static = 1`); n != 40 {
		t.Errorf("%d identities are counted, want 40", n)
	}
	if n := count(`SELECT COUNT(*) FROM generation`); n != 1 {
		t.Errorf("the sequence has %d rows, want 1", n)
	}
}

// before14 is a stream as the program wrote it whose newest migration was 13.
func before14(t *testing.T, whole string) string {
	t.Helper()
	var out strings.Builder
	rows, table := 0, ""
	var keep []int // columns that were there
	lines := strings.SplitAfter(whole, "\n")
	for i, line := range lines[:len(lines)-2] {
		var head map[string]any
		switch {
		case i == 0:
			decode(t, line, &head)
			head["schema"] = 13
			line = encode(t, head)
		case line[0] == '{':
			decode(t, line, &head)
			table, keep = head["table"].(string), nil
			var columns []any
			for n, c := range head["columns"].([]any) {
				if table != "identity" || c != "static" && c != "admin" {
					keep, columns = append(keep, n), append(columns, c)
				}
			}
			if table == "identity" && len(keep) != len(head["columns"].([]any))-2 {
				t.Fatalf("the columns of an identity are %v", head["columns"])
			}
			head["columns"] = columns
			line = encode(t, head)
		case table != "identity_tally":
			var cells, kept []json.RawMessage
			decode(t, line, &cells)
			for _, n := range keep {
				kept = append(kept, cells[n])
			}
			line = encode(t, kept)
			rows++
		}
		if table != "identity_tally" {
			out.WriteString(line)
		}
	}
	sum := sha256.Sum256([]byte(out.String()))
	out.WriteString(encode(t, map[string]any{"end": true, "rows": rows, "sha256": hex.EncodeToString(sum[:])}))
	return out.String()
}

func decode(t *testing.T, line string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// damaged imports streams that somebody cut or changed: nothing may remain.
func (k Kit) damaged(t *testing.T) {
	from := k.fresh(t)
	mustPut(t, from, "p", 1)
	mustPut(t, from, "q", 2)
	whole, _ := Dump(t, from)
	lines := strings.SplitAfter(whole, "\n")
	edit := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the stream", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	to := k.fresh(t)
	for name, stream := range map[string]string{
		"nothing":              "",
		"another file":         "{}\n",
		"cut in a row":         whole[:len(whole)/2],
		"without its end":      strings.Join(lines[:len(lines)-2], ""),
		"a changed value":      edit(`["p",1]`, `["p",3]`),
		"a row taken out":      edit("[\"p\",1]\n", ""),
		"more behind the end":  whole + "[]\n",
		"a newer format":       edit(`"muster_store":1`, `"muster_store":2`),
		"a newer schema":       edit(`"schema":`, `"schema":9`),
		"an unknown table":     edit(`{"table":"position"`, `{"table":"sqlite_master"`),
		"a table named by SQL": edit(`{"table":"position"`, `{"table":"position (consumer) SELECT 1; --"`),
		"an unknown column":    edit(`"columns":["consumer","seq"]`, `"columns":["consumer","seq) VALUES ('x', 1); --"]`),
	} {
		_, err := to.Import(t.Context(), strings.NewReader(stream))
		if !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: err = %v, want invalid", name, err)
		}
	}
	if n := position(t, to, "p"); n != 0 || to.Generation() != 0 {
		t.Errorf("a refused import left a row: %d, generation %d", n, to.Generation())
	}
	if _, err := to.Import(t.Context(), strings.NewReader(whole)); err != nil {
		t.Errorf("the whole stream after those: %v", err)
	}
}

// living exports while others write: the stream must be of one moment.
func (k Kit) living(t *testing.T) {
	db := k.fresh(t)
	for i := range 20 {
		mustPut(t, db, fmt.Sprint(i), 1)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := put(t.Context(), db, fmt.Sprint(i%20), uint64(i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 3 {
		whole, _ := Dump(t, db)
		if _, err := k.fresh(t).Import(t.Context(), strings.NewReader(whole)); err != nil {
			t.Error(err)
		}
	}
	stop()
	<-ended
}

func (k Kit) forget(t *testing.T) {
	dir := t.TempDir()
	db := k.at(t, dir)
	for i := range 9 {
		mustPut(t, db, "f", uint64(i))
	}
	now := time.Now()
	if n, err := db.Forget(t.Context(), now.Add(-time.Hour), 9); n != 0 || err != nil || db.First() != 1 {
		t.Errorf("forgot %d young changes, %v", n, err)
	}
	if n, err := db.Forget(t.Context(), now.Add(time.Hour), 4); n != 4 || err != nil || db.First() != 5 {
		t.Errorf("forgot %d, %v; the first is %d", n, err, db.First())
	}
	for after, want := range map[nhi.Generation]int{4: 5, 8: 1, 9: 0} {
		if got, err := db.Changes(t.Context(), after, 100); err != nil || len(got) != want {
			t.Errorf("%d changes after %d, %v; want %d", len(got), after, err, want)
		}
	}
	if _, err := db.Changes(t.Context(), 3, 100); !errors.Is(err, store.ErrTooOld) {
		t.Errorf("a cursor before the first change: %v", err)
	}
	if g := mustPut(t, db, "f", 10); g != 10 {
		t.Errorf("the sequence goes on with %d", g)
	}
	if n, err := db.Forget(t.Context(), now.Add(time.Hour), 100); n != 6 || err != nil || db.First() != 11 {
		t.Errorf("forgot the other %d, %v; the first is %d", n, err, db.First())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := k.at(t, dir)
	if again.First() != 11 || again.Generation() != 10 {
		t.Errorf("opened again: first %d, generation %d", again.First(), again.Generation())
	}
}

// texts looks for what was written by the same bytes: names come from outside,
// and one engine cannot keep all of them.
func (k Kit) texts(t *testing.T) {
	db := k.fresh(t)
	for _, name := range []string{"a\x00b", "\xc3\x28", "\xed\xa0\x80", "\u202e", "\U0010FFFF", "Ä", "z", "Z"} {
		mustPut(t, db, name, 3)
		if n := position(t, db, name); n != 3 {
			t.Errorf("%q was not found by its own name", name)
		}
	}
	var order []string
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(t.Context(), `SELECT consumer FROM position WHERE consumer IN ('Ä', 'z', 'Z') ORDER BY consumer`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			order = append(order, s)
		}
		return rows.Err()
	})
	if diff := cmp.Diff([]string{"Z", "z", "Ä"}, order); err != nil || diff != "" {
		t.Errorf("texts are not ordered by their bytes (-want +got):\n%s%v", diff, err)
	}
}
