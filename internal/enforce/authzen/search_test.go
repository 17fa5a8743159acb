package authzen

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// numbered is a catalogue of so many identities and resources. Every tenth
// resource is allowed, each is named for what byName says to it.
type numbered struct {
	n      int
	looked *int
}

func (c numbered) Subjects(kind, after string, n int) ([]string, bool) {
	if kind != "identity" {
		return nil, false
	}
	return c.list(after, n, func(i int) string { return fmt.Sprintf("nhi_%05d", i) })
}

func (c numbered) Resources(_, after string, n int, guarded func(string) bool) (names []string, more bool) {
	all, more := c.list(after, n, func(i int) string {
		return fmt.Sprintf("%s/%05d", map[bool]string{true: "allowed", false: "deny"}[i%10 == 0], i)
	})
	for _, name := range all {
		if guarded(name) {
			names = append(names, name)
		}
	}
	return names, more
}

// list numbers candidates in the order of their numbers.
func (c numbered) list(after string, n int, name func(int) string) (names []string, more bool) {
	from := 0
	if after != "" {
		if _, err := fmt.Sscanf(after[len(after)-5:], "%d", &from); err != nil {
			panic(err)
		}
		from++
	}
	for i := from; i < min(from+n, c.n); i++ {
		names = append(names, name(i))
	}
	if c.looked != nil {
		*c.looked += len(names)
	}
	return names, from+n < c.n
}

var searchResources = `{"subject":{"type":"identity","id":"` + string(robot) + `"},"action":{"name":"read"},"resource":{"type":"api"}}`

// paged adds a page to a search.
func paged(body, page string) string { return strings.TrimSuffix(body, "}") + `,"page":` + page + `}` }

// found reads what a search answers.
func found(t testing.TB, body []byte) (names []string, next string) {
	t.Helper()
	var got replied
	if err := json.Unmarshal(body, &got); err != nil || got.Results == nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, r := range got.Results {
		names = append(names, r.ID+r.Name)
	}
	next, ok := got.Page["next_token"].(string)
	if !ok || got.Page["count"] != float64(len(names)) {
		t.Fatalf("page %v of %d results", got.Page, len(names))
	}
	return names, next
}

func TestASearchIsReadPageByPageAndEveryPageHasItsBound(t *testing.T) {
	looked := 0
	d := newDesk(&byName{}, numbered{12_345, &looked}, false)
	var all []string
	pages, body := 0, searchResources
	for {
		before := looked
		status, answer := d.ask(t, SearchResourcePath, body)
		if status != 200 {
			t.Fatalf("page %d: %d %s", pages, status, answer)
		}
		names, next := found(t, answer)
		pages++
		all = append(all, names...)
		if looked-before > maxLooked+chunk {
			t.Fatalf("page %d looked at %d candidates", pages, looked-before)
		}
		if next == "" {
			break
		}
		body = paged(searchResources, `{"token":"`+next+`"}`)
	}
	if len(all) != 1235 || all[0] != "allowed/00000" || all[1234] != "allowed/12340" || pages != 13 {
		t.Errorf("%d results on %d pages, want 1235 on 13", len(all), pages)
	}
	for i := 1; i < len(all); i++ {
		if all[i] <= all[i-1] {
			t.Fatalf("%s comes after %s", all[i], all[i-1])
		}
	}
}

func TestALimitCutsAPageWithoutLosingAnybody(t *testing.T) {
	d := newDesk(&byName{}, numbered{100, nil}, false)
	for _, limit := range []int{1, 3, 9, 10, 11} {
		var all []string
		body := paged(searchResources, fmt.Sprintf(`{"limit":%d}`, limit))
		for {
			_, answer := d.ask(t, SearchResourcePath, body)
			names, next := found(t, answer)
			if len(names) > limit {
				t.Fatalf("%d results on a page of %d", len(names), limit)
			}
			if all = append(all, names...); next == "" {
				break
			}
			body = paged(searchResources, fmt.Sprintf(`{"limit":%d,"token":%q}`, limit, next))
		}
		if len(all) != 10 {
			t.Errorf("limit %d: %d results, want 10", limit, len(all))
		}
	}
	_, answer := d.ask(t, SearchResourcePath, paged(searchResources, `{"limit":0}`))
	if names, next := found(t, answer); len(names) != 0 || next == "" {
		t.Errorf("limit 0: %d results, next %q", len(names), next)
	}
	for _, page := range []string{`{"limit":-1}`, `{"limit":1.5}`, `{"limit":"1"}`, `{"limit":1e99}`, `[]`, `{"token":1}`} {
		if status, answer := d.ask(t, SearchResourcePath, paged(searchResources, page)); status != 400 {
			t.Errorf("page %s: %d %s", page, status, answer)
		}
	}
}

func TestAStepUpIsNoResult(t *testing.T) {
	d := newDesk(&enforcetest.Decider{Answer: nhi.Decision{Outcome: nhi.StepUp}}, numbered{10, nil}, false)
	_, answer := d.ask(t, SearchResourcePath, searchResources)
	if names, _ := found(t, answer); len(names) != 0 {
		t.Errorf("found %q", names)
	}
}

func TestASearchIsOnRecordOnceAndItsCandidatesNever(t *testing.T) {
	decider := &enforcetest.Decider{Answer: nhi.Decision{Outcome: nhi.Allow}}
	d := newDesk(decider, numbered{2_000, nil}, false)
	_, answer := d.ask(t, SearchResourcePath, searchResources)
	_, next := found(t, answer)
	d.ask(t, SearchResourcePath, paged(searchResources, `{"token":"`+next+`"}`))
	if len(decider.Asked()) != 0 {
		t.Error("candidates were decided about")
	}
	if len(d.acts.of) != 1 {
		t.Fatalf("%d acts for two pages of one search", len(d.acts.of))
	}
	act := d.acts.of[0]
	if act.Act != ActSearch || act.Target != string(robot) || act.Outcome != "done" || !strings.HasPrefix(act.Actor, "point:nhi_") ||
		string(act.Detail) != `{"search":"resource","subject":"`+string(robot)+`","action":"read"}` {
		t.Errorf("%+v %s", act, act.Detail)
	}
	d.acts.fail = true
	if status, body := d.ask(t, SearchResourcePath, searchResources); status != 500 || strings.Contains(string(body), "results") {
		t.Errorf("a search that is not on record: %d %s", status, body)
	}
}

func TestAPointSearchesOnlyWhatItGuards(t *testing.T) {
	d := newDesk(&byName{}, numbered{100, nil}, false)
	key := d.points.Enroll(nhi.DialectAuthZEN, func(p *nhi.Point) { p.Resources = []string{"allowed/00010", "deny/00011"} })
	_, answer := d.ask(t, SearchResourcePath, searchResources, asPoint(key))
	if names, _ := found(t, answer); !cmp.Equal(names, []string{"allowed/00010"}) {
		t.Errorf("found %q", names)
	}
	for path, body := range map[string]string{
		SearchSubjectPath: `{"subject":{"type":"identity"},"action":{"name":"read"},"resource":{"type":"api","id":"allowed/00020"}}`,
		SearchActionPath:  `{"subject":{"type":"identity","id":"x"},"resource":{"type":"api","id":"allowed/00020"}}`,
	} {
		if status, answer := d.ask(t, path, body, asPoint(key)); status != 403 {
			t.Errorf("%s: %d %s, want 403", path, status, answer)
		}
		if status, answer := d.ask(t, path, strings.Replace(body, "20", "10", 1), asPoint(key)); status != 200 {
			t.Errorf("%s: %d %s, want 200", path, status, answer)
		}
	}
	if status, _ := d.ask(t, SearchResourcePath, searchResources, asPoint("muster_pnt_none")); status != 401 {
		t.Errorf("without a point: %d, want 401", status)
	}
}

func TestAForgedOrBorrowedPageTokenIsRefused(t *testing.T) {
	d := newDesk(&byName{}, numbered{5_000, nil}, false)
	_, answer := d.ask(t, SearchResourcePath, searchResources)
	_, token := found(t, answer)
	flipped := []byte(token)
	flipped[len(flipped)/2] ^= 1
	other := strings.Replace(searchResources, `"read"`, `"write"`, 1)
	elsewhere := strings.TrimSuffix(searchResources, "}") + `,"context":{"ip":"192.0.2.1"}}`
	another := d.points.Enroll(nhi.DialectAuthZEN, nil)
	for name, tt := range map[string]struct {
		path, body, token string
		edit              func(*http.Request)
	}{
		"nonsense":                 {SearchResourcePath, searchResources, "alsehrq3495u8", nil},
		"another position, plain":  {SearchResourcePath, searchResources, base64.RawURLEncoding.EncodeToString([]byte("deny/00001")), nil},
		"one bit changed":          {SearchResourcePath, searchResources, string(flipped), nil},
		"cut":                      {SearchResourcePath, searchResources, token[:len(token)-4], nil},
		"with something behind it": {SearchResourcePath, searchResources, token + "AA", nil},
		"endless":                  {SearchResourcePath, searchResources, strings.Repeat("A", 50_000), nil},
		"of another action":        {SearchResourcePath, other, token, nil},
		"of another context":       {SearchResourcePath, elsewhere, token, nil},
		"of another point":         {SearchResourcePath, searchResources, token, asPoint(another)},
		"of another search":        {SearchActionPath, `{"subject":{"type":"identity","id":"` + string(robot) + `"},"resource":{"type":"api","id":"x"}}`, token, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []func(*http.Request)
			if tt.edit != nil {
				edits = append(edits, tt.edit)
			}
			if status, answer := d.ask(t, tt.path, paged(tt.body, `{"token":"`+tt.token+`"}`), edits...); status != 400 {
				t.Errorf("%d %s, want 400", status, answer)
			}
		})
	}
	if strings.Contains(token, "deny") || strings.Contains(decode64(token), "deny") {
		t.Error("a token shows a resource that was not a result")
	}
	if status, answer := d.ask(t, SearchResourcePath, paged(searchResources, `{"token":"`+token+`"}`)); status != 200 {
		t.Errorf("the token itself: %d %s", status, answer)
	}
	old := d.pages.token(bookmark{time.Now().Add(-time.Second), "deny/00001"}, (&search{tuple: mustTuple(t, searchResources)}).binding(d.point(), &resources))
	if status, answer := d.ask(t, SearchResourcePath, paged(searchResources, `{"token":"`+old+`"}`)); status != 400 {
		t.Errorf("a token that is too old: %d %s", status, answer)
	}
	if other := newDesk(&byName{}, numbered{5_000, nil}, false); other.pages.sealed == d.pages.sealed {
		t.Error("two handlers share a key nobody gave them")
	}
}

func decode64(s string) string {
	text, _ := base64.RawURLEncoding.DecodeString(s)
	return string(text)
}

func mustTuple(t testing.TB, body string) (out tuple) {
	t.Helper()
	if err := parse([]byte(body), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// point is the one that a desk asks as.
func (d *desk) point() *nhi.Point {
	for _, p := range d.points {
		if strings.Contains(d.key, p.KeyID) {
			return &p
		}
	}
	return nil
}

func TestAPageTokenLivesOnUnderTheSameKey(t *testing.T) {
	key := make([]byte, 32)
	ends := time.Now().Add(time.Minute).Truncate(time.Second)
	token := newPager(key).token(bookmark{ends, "x"}, bind("a"))
	got, err := newPager(key).open(token, bind("a"), time.Now())
	if err != nil || got.after != "x" || !got.ends.Equal(ends) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := newPager(key).open(token, bind("a"), ends); err == nil {
		t.Error("a token outlives its search")
	}
	if cmp.Equal(bind("a", "bc"), bind("ab", "c")) {
		t.Error("two searches are bound alike")
	}
}

func TestAPointThatSearchesWithoutEndIsSlowedDown(t *testing.T) {
	d := newDesk(&byName{}, numbered{10, nil}, false)
	d.paces.every = rate.Every(time.Hour)
	refused := 0
	for range pagesAtOnce + 5 {
		status, answer := d.ask(t, SearchResourcePath, searchResources)
		switch status {
		case 200:
		case 429:
			refused++
		default:
			t.Fatalf("%d %s", status, answer)
		}
	}
	if refused != 5 {
		t.Errorf("%d pages were refused, want 5", refused)
	}
	if status, answer := d.ask(t, EvaluationPath, question); status != 200 {
		t.Errorf("an evaluation has to wait for searches: %d %s", status, answer)
	}
	key := d.points.Enroll(nhi.DialectAuthZEN, nil)
	if status, answer := d.ask(t, SearchResourcePath, searchResources, asPoint(key)); status != 200 {
		t.Errorf("another point has to wait: %d %s", status, answer)
	}
}

func TestAnActionSearchTriesOurClassesAndPages(t *testing.T) {
	decider := &enforcetest.Decider{Answer: nhi.Decision{Outcome: nhi.Allow}}
	d := newDesk(decider, numbered{}, false)
	body := `{"subject":{"type":"identity","id":"x"},"action":{"name":"read"},"resource":{"type":"api","id":"x"}}`
	var all []string
	page := `{"limit":3}`
	for {
		_, answer := d.ask(t, SearchActionPath, paged(body, page))
		names, next := found(t, answer)
		if all = append(all, names...); next == "" {
			break
		}
		page = `{"limit":3,"token":"` + next + `"}`
	}
	if diff := cmp.Diff(actions, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range actions {
		if !nhi.ActionClass(name).Valid() {
			t.Errorf("%s is no class of action", name)
		}
	}
}

func FuzzSearch(f *testing.F) {
	f.Add([]byte(searchResources), uint8(1))
	f.Add([]byte(paged(searchResources, `{"limit":3,"token":"AAAA"}`)), uint8(0))
	f.Add([]byte(findActions), uint8(2))
	f.Add([]byte(`{"subject":null,"action":null,"resource":null,"page":null}`), uint8(2))
	d := newDesk(&byName{}, numbered{50, nil}, false)
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		path := []string{SearchSubjectPath, SearchResourcePath, SearchActionPath}[which%3]
		status, answer := d.ask(t, path, string(body))
		var v any
		if err := json.Unmarshal(answer, &v); err != nil || status >= 500 {
			t.Errorf("%d %s: %v", status, answer, err)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	p := newPager(make([]byte, 32))
	f.Add("AAAA")
	f.Add(p.token(bookmark{time.Now().Add(time.Hour), "x"}, bind("a")))
	f.Fuzz(func(t *testing.T, token string) {
		if m, err := p.open(token, bind("somebody else's search"), time.Now()); err == nil {
			t.Errorf("opened %q: %+v", token, m)
		}
	})
}
