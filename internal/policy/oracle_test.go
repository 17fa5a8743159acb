//go:build oracle

package policy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// An oracle is Cedar's reference implementation, in a process of its own
// (test/oracle).
type oracle struct {
	ask    *json.Encoder
	answer *json.Decoder
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	cmd := exec.Command("node", "../../test/oracle/oracle.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &oracle{json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

func (o *oracle) call(t *testing.T, question, answer any) {
	t.Helper()
	if err := o.ask.Encode(question); err != nil {
		t.Fatal(err)
	}
	if err := o.answer.Decode(answer); err != nil {
		t.Fatal(err)
	}
}

type oracleRequest struct {
	Principal types.ImplicitlyMarshaledEntityUID `json:"principal"`
	Action    types.ImplicitlyMarshaledEntityUID `json:"action"`
	Resource  types.ImplicitlyMarshaledEntityUID `json:"resource"`
	Context   cedar.Record                       `json:"context"`
	Entities  types.EntityMap                    `json:"entities"`
}

type oracleAnswer struct {
	Decision string   `json:"decision"`
	Reasons  []string `json:"reasons"`
	Errors   []string `json:"errors"`
}

func (a oracleAnswer) String() string {
	return fmt.Sprintf("%s for %v, errors in %v", a.Decision, a.Reasons, a.Errors)
}

// TestOracleDecides asks random sets of policies random questions: the index
// must decide as the reference implementation does over every policy, for the
// same reasons and with the same errors.
func TestOracleDecides(t *testing.T) {
	const sets, questions = 50, 40
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	o := newOracle(t)
	seen := map[string]int{}
	for range sets {
		set, err := Load(DefaultSettings(), map[string]string{"x.cedar": randomPolicies(r, 1+r.IntN(60))})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		policies := map[string]string{}
		for _, rule := range set.rules {
			policies[string(rule.id)] = string(rule.policy.MarshalCedar())
		}
		var requests []oracleRequest
		var ours []oracleAnswer
		for range questions {
			q := randomQuestion(r)
			if r.IntN(3) > 0 { // else the guards answer nearly everything
				k := &q.Known
				k.Identity, k.IdentityState, k.Owned, k.Risk, k.Surprise = true, nhi.Active, true, 0, 0
				k.Credential, k.CredentialState, q.Subject.Assurance, q.Subject.SenderBound, q.Subject.Asserted = true, nhi.CredentialActive, 3, true, false
			}
			entities, req := world(set, q)
			requests = append(requests, oracleRequest{
				types.ImplicitlyMarshaledEntityUID(req.Principal), types.ImplicitlyMarshaledEntityUID(req.Action), types.ImplicitlyMarshaledEntityUID(req.Resource), req.Context, entities,
			})
			decision, reasons, errs := sliced(set, q)
			ours = append(ours, oracleAnswer{decision.String(), reasons, errs})
		}
		var theirs struct {
			Answers []oracleAnswer `json:"answers"`
		}
		o.call(t, map[string]any{"policies": policies, "requests": requests}, &theirs)
		if len(theirs.Answers) != len(ours) {
			t.Fatalf("seed %d: %d answers to %d questions", seed, len(theirs.Answers), len(ours))
		}
		for i, want := range theirs.Answers {
			if got := ours[i]; got.Decision != want.Decision || !slices.Equal(got.Reasons, want.Reasons) || !slices.Equal(got.Errors, want.Errors) {
				t.Errorf("seed %d, question %d: %v, the reference says %v\n%s", seed, i, got, want, set.files["x.cedar"])
			}
			seen[want.Decision]++
			if len(want.Errors) > 0 {
				seen["error"]++
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("seed %d: %d pairs, 0 differences: %v", seed, sets*questions, seen)
	if seen["allow"] == 0 || seen["deny"] == 0 || seen["error"] == 0 {
		t.Errorf("the random world is one-sided: %v", seen)
	}
}

// TestOracleValidates spoils random policies: what the reference
// implementation's strict validation refuses must be refused here too, or a
// policy could err while it is evaluated.
func TestOracleValidates(t *testing.T) {
	const candidates = 200
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	spoil := [][2]string{
		{"context has attestation && ", ""}, {"context has device && ", ""}, {"context has purpose && ", ""}, {"context has approval && ", ""},
		{"context has address && ", ""}, {"context.location has cluster && ", ""}, {" && ", " || "}, {">= 3", `== "3"`}, {"sensitivity", "sensitivty"}, {"context.country", "principal.country"},
		{"principal is Workload", "principal is Resource"}, {"principal.owned", "resource.owned"}, {`Action::"read"`, `Action::"raed"`},
		{"10.0.0.0/8", "10.0.0.0/88"}, {"2024-01-01", "2024-13-01"}, {`contains(context.purpose)`, `contains(context.asn)`}, {"unless { principal", "unless { !principal"}, {"then resource else", "then principal else"},
	}
	var texts []string
	for range candidates {
		text := randomPolicies(r, 1+r.IntN(3))
		for range r.IntN(4) {
			change := spoil[r.IntN(len(spoil))]
			text = strings.Replace(text, change[0], change[1], 1)
		}
		texts = append(texts, text)
	}
	var zones []clause.Zone // all that these policies name
	for _, name := range append([]string{"Asia/Tokyo", "Europe/Berlin"}, oddZones...) {
		zones = append(zones, clause.Zone{Name: types.String(name)})
	}
	var theirs struct {
		Valid []bool `json:"valid"`
	}
	newOracle(t).call(t, map[string]any{"schema": string(withZones(schemaText, zones)), "candidates": texts}, &theirs)
	if len(theirs.Valid) != len(texts) {
		t.Fatalf("%d answers to %d questions", len(theirs.Valid), len(texts))
	}
	good, bad, stricter := 0, 0, 0
	for i, valid := range theirs.Valid {
		_, err := Load(DefaultSettings(), map[string]string{"x.cedar": texts[i]})
		switch {
		case !valid && err == nil:
			t.Errorf("seed %d: accepted what the reference implementation refuses:\n%s", seed, texts[i])
		case valid && err != nil:
			stricter++ // such as a scope that nothing fits: a warning there, an error here
		case valid:
			good++
		default:
			bad++
		}
	}
	t.Logf("seed %d: %d accepted by both, %d refused by both, %d refused only here", seed, good, bad, stricter)
	if good == 0 || bad == 0 {
		t.Error("the random world is one-sided")
	}
}
