package glass

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/nhi"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/store/enginetest"
)

type nobody struct{}

func (nobody) PointByKeyID(string) (nhi.Point, bool)           { return nhi.Point{}, false }
func (nobody) SourceByKeyID(string) (nhi.Source, bool)         { return nhi.Source{}, false }
func (nobody) CredentialByKeyID(string) (nhi.Credential, bool) { return nhi.Credential{}, false }

// A counter is a desk, and what people and the audit log were told by it.
type counter struct {
	*Desk
	access *access.Service
	kepts  *storeaccess.Store
	point  nhi.Point
	found  map[string]nhi.Finding
	acts   map[string]int // by act, each key once
	keys   map[string]bool
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	kept := storeaccess.New(db)
	c := &counter{kepts: kept, found: map[string]nhi.Finding{}, acts: map[string]int{}, keys: map[string]bool{}}
	if c.access, err = access.New(access.Config{PublicURL: "http://127.0.0.1:8700", Directory: nobody{}, Enrollments: kept, Glasses: kept, Tokens: kept, Sessions: kept, People: kept}); err != nil {
		t.Fatal(err)
	}
	if c.point, _, err = c.access.EnrollPoint(t.Context(), access.NewPoint{Name: "edge"}); err != nil {
		t.Fatal(err)
	}
	c.Desk = &Desk{
		Access: c.access, Clean: func(s string) string { return s },
		Person: func(context.Context, string) (access.Person, error) { return access.Person{}, nhi.ErrNotFound },
		Record: func(_ context.Context, a nhi.Act) error {
			if !c.keys[a.Key] {
				c.keys[a.Key] = true
				c.acts[a.Act]++
			}
			return nil
		},
		Found: func(_ context.Context, all []nhi.Finding) error {
			for _, f := range all {
				c.found[f.ID] = f
			}
			return nil
		},
	}
	return c
}

// code makes a code for the point.
func (c *counter) code(t *testing.T) (nhi.GlassCode, [2]string) {
	t.Helper()
	var halves [2]string
	var g access.Glass
	for i, person := range []string{"per_1", "per_2"} {
		var err error
		if halves[i], g, err = c.access.TakeHalf(t.Context(), "edge", person, person); err != nil {
			t.Fatal(err)
		}
	}
	return nhi.GlassCode{Serial: g.Serial, First: g.First, Second: g.Second, Expires: g.Expires}, halves
}

func (c *counter) report(t *testing.T, o breakglass.Opening) {
	t.Helper()
	if err := c.Report(t.Context(), &c.point, &o); err != nil {
		t.Fatal(err)
	}
}

// second counts the findings of a second use.
func (c *counter) second() (n int) {
	for _, f := range c.found {
		if f.Severity == nhi.Critical && strings.Contains(f.Title, "second time") {
			n++
		}
	}
	return n
}

func (c *counter) kept(t *testing.T) access.Glass {
	t.Helper()
	all, err := c.access.Glasses(t.Context(), c.point.ID)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// opened opens a point by a data folder that does not know that a code was used.
func opened(t *testing.T, code nhi.GlassCode, halves [2]string) (*breakglass.Box, breakglass.Opening) {
	t.Helper()
	box, err := breakglass.Load(filepath.Join(t.TempDir(), "break-glass.json"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := box.Open([]nhi.GlassCode{code}, halves, time.Hour, "the rack burns")
	if err != nil {
		t.Fatal(err)
	}
	return box, o
}

// Whoever copied a point's data folder opens the copy by a code that was used.
func TestASecondUseOfACodeAtACopyOfThePointIsFound(t *testing.T) {
	c := newCounter(t)
	code, halves := c.code(t)
	box, first := opened(t, code, halves)
	copied, second := opened(t, code, halves)
	if _, err := box.Open([]nhi.GlassCode{code}, halves, time.Hour, "again"); !errors.Is(err, breakglass.ErrUsed) {
		t.Errorf("at the point itself: %v", err)
	}
	c.report(t, first)
	if len(c.found) != 1 || c.second() != 0 {
		t.Fatalf("after the first use there are %+v", c.found)
	}
	c.report(t, second)
	if len(c.found) != 2 || c.second() != 1 {
		t.Errorf("after the second there are %+v", c.found)
	}
	for _, b := range []*breakglass.Box{box, copied} {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the answer to the first was lost
			c.report(t, b.Untold()[0])
		}
	}
	if len(c.found) != 2 || c.second() != 1 || c.acts["break-glass.open"] != 2 || c.acts["break-glass.close"] != 2 {
		t.Errorf("once both are over there are %+v and acts %v", c.found, c.acts)
	}
	if g := c.kept(t); g.State != access.GlassUsed || !g.Opened.Equal(first.Opened) || g.Ended.IsZero() {
		t.Errorf("of two uses the first is kept, not %+v", g)
	}
}

// A point's clock may be hours ahead: what it tells twice was once all the same.
func TestAClockThatIsAheadMakesNoSecondUse(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"a little": time.Second, "three minutes": 3 * time.Minute, "a day": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := newCounter(t)
			code, halves := c.code(t)
			_, o := opened(t, code, halves)
			o.Opened = o.Opened.Add(ahead)
			for range 3 {
				c.report(t, o)
			}
			o.Closed, o.Allowed = o.Opened.Add(10*time.Minute), 7
			for range 2 {
				c.report(t, o)
			}
			if len(c.found) != 1 || c.second() != 0 || c.acts["break-glass.open"] != 1 || c.acts["break-glass.close"] != 1 {
				t.Errorf("there are %+v and acts %v", c.found, c.acts)
			}
			if g := c.kept(t); g.Opened.After(time.Now()) || g.Ended.After(time.Now()) || g.Allowed != 7 || g.Ended.IsZero() {
				t.Errorf("kept is %+v", g)
			}
			// It was opened a second time after all, by the same clock.
			_, again := opened(t, code, halves)
			again.Opened = again.Opened.Add(ahead)
			if c.report(t, again); c.second() != 1 {
				t.Errorf("a second use by that clock: %+v", c.found)
			}
		})
	}
}

// What an earlier release kept has no time by the point's clock.
func TestAnOpeningThatAnEarlierReleaseKeptIsNoSecondUse(t *testing.T) {
	c := newCounter(t)
	code, halves := c.code(t)
	box, o := opened(t, code, halves)
	c.report(t, o)
	_, err := c.kepts.ChangeGlass(t.Context(), "edge", func(_ *nhi.Point, codes []access.Glass) (*access.Glass, error) {
		codes[0].Stated = time.Time{}
		return &codes[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	c.report(t, box.Untold()[0])
	if c.second() != 0 || c.kept(t).Ended.IsZero() {
		t.Errorf("there are %+v, kept is %+v", c.found, c.kept(t))
	}
}
