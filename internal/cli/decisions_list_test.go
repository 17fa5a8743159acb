package cli

import (
	"net/http"
	"strings"
	"testing"
)

func TestDecisionsAreNarrowedToAPointByItsName(t *testing.T) {
	asked := ""
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/points":
			if r.URL.Query().Get("filter") != `name:"edge"` {
				t.Errorf("asked for points by %s", r.URL.Query())
			}
			_, _ = w.Write([]byte(`{"items":[{"id":"nhi_a","name":"edge"}]}`))
		case "/v1/decisions":
			asked = r.URL.Query().Get("point")
			_, _ = w.Write([]byte(`{"items":[]}`))
		default:
			t.Errorf("asked for %s", r.URL)
		}
	})
	code, _, words := s.run(t, "decide", "list", "--point", "edge")
	if code != 0 || asked != "nhi_a" || !strings.Contains(words, "--since 7d reads the record") {
		t.Errorf("%d, asked for the decisions of %q, said %q", code, asked, words)
	}
	if code, _, words = s.run(t, "decide", "list", "--since", "7d"); code != 0 || words != "" {
		t.Errorf("out of the record: %d %q", code, words)
	}
}

func TestAWordThatIsNoOutcomeIsRefusedBeforeTheServerIsAsked(t *testing.T) {
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	if code, _, words := s.run(t, "decide", "list", "--outcome", "denied"); code != 2 || !strings.Contains(words, "want one of allow, deny, step-up") {
		t.Errorf("%d %q", code, words)
	}
}

func TestWhatIsNotThereIsFoundInTheListBeside(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "not found") })
	for _, tt := range [][]string{
		{"muster decide list", "decide", "explain", "abc"}, {"muster policy history", "policy", "rollback", "5f0c21aa"}, {"muster point list", "point", "set", "nope", "--percent", "5"},
	} {
		if code, _, words := s.run(t, tt[1:]...); code != 3 || !strings.Contains(words, "`"+tt[0]+"` shows what there is") {
			t.Errorf("%v: %d %q", tt, code, words)
		}
	}
	if _, _, words := s.run(t, "decide", "explain"); !strings.Contains(words, "something is missing: want `muster decide explain ID`") {
		t.Errorf("no argument: %q", words)
	}
}

func TestAPointThatObservesSaysWhatItWouldHaveRefused(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[{"id":"nhi_a","name":"edge","mode":"observe","would_refuse":2},{"id":"nhi_b","name":"new","mode":"observe"}]}`))
	})
	_, _, words := s.run(t, "point", "list")
	want := "edge is not protected: its point only observes, and would have refused 2 requests since the server started: muster decide list --filter would_refuse:true --point edge\nnew is not protected: its point only observes\n"
	if words != want {
		t.Errorf("said %q", words)
	}
}
