//go:build conformance || soak

package policy

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/google/go-cmp/cmp"
)

// A corpusCase is one file of Cedar's own corpus of fuzzed tests: policies,
// entities, and what the reference implementation answered to each request.
type corpusCase struct {
	Policies string `json:"policies"`
	Entities string `json:"entities"`
	Requests []struct {
		Principal types.ImplicitlyMarshaledEntityUID `json:"principal"`
		Action    types.ImplicitlyMarshaledEntityUID `json:"action"`
		Resource  types.ImplicitlyMarshaledEntityUID `json:"resource"`
		Context   cedar.Record                       `json:"context"`
		Decision  cedar.Decision                     `json:"decision"`
		Reasons   []cedar.PolicyID                   `json:"reason"`
		Errors    []cedar.PolicyID                   `json:"errors"`
	} `json:"requests"`
}

// corpus reads the corpus that lies in the module cache beside cedar-go.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unpacked); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is what a set of policies says, in an order that does not depend on
// how it was found.
type answer struct {
	decision      cedar.Decision
	reasons, errs []cedar.PolicyID
}

func (a answer) equal(b answer) bool {
	return a.decision == b.decision && slices.Equal(a.reasons, b.reasons) && slices.Equal(a.errs, b.errs)
}

func authorize(policies cedar.PolicyIterator, entities types.EntityGetter, req cedar.Request) answer {
	decision, d := cedar.Authorize(policies, entities, req)
	a := answer{decision: decision}
	for _, r := range d.Reasons {
		a.reasons = append(a.reasons, r.PolicyID)
	}
	for _, e := range d.Errors {
		a.errs = append(a.errs, e.PolicyID)
	}
	slices.Sort(a.reasons)
	slices.Sort(a.errs)
	return a
}

// some is the part of a set that our index finds.
type some func(yield func(cedar.PolicyID, *cedar.Policy) bool)

func (s some) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return iter.Seq2[cedar.PolicyID, *cedar.Policy](s)
}

// foundIn returns what our index finds of all for a request. The corpus has
// actions of its own, so all of them count as one here.
func foundIn(all map[cedar.PolicyID]*cedar.Policy, entities cedar.EntityMap, req cedar.Request) some {
	var rules []*rule
	for _, id := range slices.Sorted(maps.Keys(all)) {
		r := &rule{id: id, policy: all[id], scope: scopeOf((*ast.Policy)(all[id].AST()))}
		r.scope.actions = 1
		rules = append(rules, r)
	}
	x := newIndex(rules)
	var s slice
	x.find(&s, 0, ancestry(entities, req.Principal), ancestry(entities, req.Resource))
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, list := range s.lists {
			for _, r := range list {
				if kind := r.scope.principalType; kind != "" && kind != req.Principal.Type {
					continue
				}
				if !yield(r.id, r.policy) {
					return
				}
			}
		}
	}
}

// ancestry is an entity and everything above it.
func ancestry(entities cedar.EntityMap, uid cedar.EntityUID) []cedar.EntityUID {
	out := []cedar.EntityUID{uid}
	for i := 0; i < len(out); i++ {
		for parent := range entities[out[i]].Parents.All() {
			if !slices.Contains(out, parent) {
				out = append(out, parent)
			}
		}
	}
	return out
}

// TestConformanceCorpus answers every request of Cedar's own corpus through our
// index, alone and among the policies of twenty other cases, and wants what the
// reference implementation and a full scan say.
func TestConformanceCorpus(t *testing.T) {
	files := corpus(t)
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	sets := make([]*cedar.PolicySet, len(names))
	cases := make([]corpusCase, len(names))
	for i, name := range names {
		if err := json.Unmarshal(files[name], &cases[i]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var err error
		if sets[i], err = cedar.NewPolicySetFromBytes("policies", files[cases[i].Policies]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	requests, left := 0, 0
	for i, name := range names {
		var entities cedar.EntityMap
		if err := json.Unmarshal(files[cases[i].Entities], &entities); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		alone, among := maps.Collect(sets[i].All()), map[cedar.PolicyID]*cedar.Policy{}
		everything := cedar.NewPolicySet()
		for n := range 21 {
			for id, p := range sets[(i+n)%len(sets)].All() {
				id = cedar.PolicyID(fmt.Sprintf("%d/%s", n, id))
				among[id] = p
				everything.Add(id, p)
			}
		}
		for n, r := range cases[i].Requests {
			req := cedar.Request{Principal: cedar.EntityUID(r.Principal), Action: cedar.EntityUID(r.Action), Resource: cedar.EntityUID(r.Resource), Context: r.Context}
			slices.Sort(r.Reasons)
			slices.Sort(r.Errors)
			requests++
			found := foundIn(alone, entities, req)
			left += len(alone) - len(maps.Collect(found.All()))
			if got, want := authorize(found, entities, req), (answer{r.Decision, r.Reasons, r.Errors}); !got.equal(want) {
				t.Errorf("%s, request %d: %+v, want %+v", name, n, got, want)
			}
			if n > 0 {
				continue // the others of a case are much alike
			}
			if got, want := authorize(foundIn(among, entities, req), entities, req), authorize(everything, entities, req); !got.equal(want) {
				t.Errorf("%s, request %d, among others: %+v, want %+v", name, n, got, want)
			}
		}
	}
	t.Logf("%d cases, %d requests; the index left out %d policies", len(names), requests, left)
	if len(names) < 7000 || left == 0 {
		t.Error("the corpus is smaller than it was, or the index leaves nothing out")
	}
}

// TestConformanceSlicedEqualsScan asks random sets of many policies random
// questions, through the index and by a full scan.
func TestConformanceSlicedEqualsScan(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	const questions = 100
	for range pairs / questions {
		set, err := Load(DefaultSettings(), map[string]string{"x.cedar": randomPolicies(r, 1+r.IntN(60))})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range questions {
			q := randomQuestion(r)
			if r.IntN(2) == 0 {
				q = alike(r, q)
			}
			if diff := cmp.Diff(afresh(set, q), set.Evaluate(q)); diff != "" {
				t.Fatalf("seed %d, question %+v: (-Cedar +remembered):\n%s\n%s", seed, q, diff, set.files["x.cedar"])
			}
			wantDecision, wantReasons, wantErrors := reference(set, q)
			gotDecision, gotReasons, gotErrors := sliced(set, q)
			if gotDecision != wantDecision || !slices.Equal(gotReasons, wantReasons) || !slices.Equal(gotErrors, wantErrors) {
				t.Fatalf("seed %d, question %+v:\ndecision %v, want %v\nreasons %v\nwant    %v\nerrors %v\nwant   %v\n%s", seed, q,
					gotDecision, wantDecision, gotReasons, wantReasons, gotErrors, wantErrors, set.files["x.cedar"])
			}
		}
	}
	t.Logf("seed %d: %d pairs, 0 differences", seed, pairs)
}
