// Package policy decides what a question deserves, by Cedar policies.
//
// A [Set] is an immutable, validated collection of policies: the guards that
// are built in, with their numbers taken from [Settings], and whatever an
// operator adds. [Load] makes one, or says with file, line and reason why it
// will not. A [Holder] keeps the set in force and replaces it only by a good
// one. [Set.Evaluate] is a pure function from a question to a ruling: it reads
// no clock, no disk and no network, and takes no lock.
//
// Cedar itself is github.com/cedar-policy/cedar-go, wrapped and not changed.
// The wrapper adds five things.
//
// Fail closed. Cedar skips a policy that errs, so a forbid that errs opens
// the door. Here a forbid that errs denies; a permit that errs is ignored and
// counted. Strict validation against the schema makes both rare.
//
// Step-up. A forbid annotated @stepup("bind") says what would unlock it. When
// every forbid that matched is such a one, and a permit matches as well, the
// answer is a step-up and not a denial.
//
// An index. Cedar evaluates every policy for every request. Policies are kept by what their scope names
// (principal or any, resource or any) and by action, so a request meets only those it can match. A scope that does
// not match is false without an error: leaving the policy out changes nothing; a property test compares both ways.
//
// Nothing twice. A request is built from what the loaded policies really name
// (package request). Requests that no policy can tell apart share a ruling, unless
// one that was asked sees what no key holds, such as an approval.
//
// Names for people. Every policy carries @id (unique) and may carry @text, the
// sentence that a person reads when it decided. The text of a guard is
// rendered with its numbers, so what is shown is what is in force.
//
// A policy that an operator writes looks like this:
//
//	@id("reports-only-read")
//	@text("The report job only reads.")
//	forbid (principal in Identity::"nhi_mzxw6ytboi2dmnzygq3tqojzge", action, resource)
//	unless { action == Action::"read" };
package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// BasePermit is the id of the built-in permit: what no guard forbids is allowed.
// It speaks for nobody in particular.
const BasePermit = "base-permit"

// Settings are the numbers in the built-in guards. The zero value is stricter
// than [DefaultSettings], never laxer.
type Settings struct {
	// RiskDeny is the highest risk, 0 to 100, that is still allowed.
	RiskDeny int `yaml:"risk_deny" json:"risk_deny"`
	// SurpriseStepUp is the surprise, in tenths of a bit, from which a caller
	// that is not bound to a key must step up. 0 to 100,000.
	SurpriseStepUp int `yaml:"surprise_step_up" json:"surprise_step_up" unit:"tenths of a bit"`
	// SensitivityOwned is the sensitivity from which an identity needs an
	// owner. 0 to 5; 5 asks for none.
	SensitivityOwned int `yaml:"sensitivity_owned" json:"sensitivity_owned"`
	// SensitivityBound is the sensitivity from which a static secret alone is
	// not enough. 0 to 5; 5 lets it reach everything.
	SensitivityBound int `yaml:"sensitivity_bound" json:"sensitivity_bound"`
	// RequireGrant leaves out the base permit: then only what a policy of the
	// operator permits is allowed.
	RequireGrant bool `yaml:"require_grant" json:"require_grant"`
}

// DefaultSettings returns the numbers that Muster ships with.
func DefaultSettings() Settings {
	return Settings{RiskDeny: 80, SurpriseStepUp: 130, SensitivityOwned: 3, SensitivityBound: 3}
}

// Validate returns an error wrapping nhi.ErrInvalid that names the field
// whose number is out of range.
func (s Settings) Validate() error {
	for _, f := range []struct {
		name      string
		value, hi int
	}{
		{"risk_deny", s.RiskDeny, 100},
		{"surprise_step_up", s.SurpriseStepUp, 100_000},
		{"sensitivity_owned", s.SensitivityOwned, nhi.MaxSensitivity + 1},
		{"sensitivity_bound", s.SensitivityBound, nhi.MaxSensitivity + 1},
	} {
		if f.value < 0 || f.value > f.hi {
			return nhi.Invalidf("policy settings: %s is %d, want 0 to %d", f.name, f.value, f.hi)
		}
	}
	return nil
}

// SurpriseBits is SurpriseStepUp in bits, as the guard's text shows it.
func (s Settings) SurpriseBits() string {
	if s.SurpriseStepUp%10 == 0 {
		return fmt.Sprint(s.SurpriseStepUp / 10)
	}
	return fmt.Sprintf("%d.%d", s.SurpriseStepUp/10, s.SurpriseStepUp%10)
}

// A Set is a validated set of policies. It never changes and may be used by
// any number of goroutines.
type Set struct {
	settings Settings
	files    map[string]string // as given and as rendered
	digest   string
	rules    []*rule // in the order of files and lines
	byID     map[cedar.PolicyID]*rule
	byFile   map[string][]*rule
	index    index
	request  *request.Shape
	rulings  request.Memo[request.Key, ruled]
	pool     sync.Pool // of *evaluation
}

// A Policy describes one loaded policy to people.
type Policy struct {
	ID       string         `json:"id"`
	Text     string         `json:"text"`
	Effect   string         `json:"effect"` // permit or forbid
	StepUp   nhi.StepUpKind `json:"step_up,omitempty"`
	Position string         `json:"position"` // file:line
	Source   string         `json:"source"`   // Cedar text
	Guard    bool           `json:"guard,omitempty"`
	Unscoped bool           `json:"unscoped,omitempty"` // its head names neither principal nor resource
}

// Load renders the guards with settings, parses them together with files (a
// file's name to its Cedar text), validates every policy strictly against the
// schema and builds the index. If anything is wrong the error is [Problems],
// which wraps nhi.ErrInvalid and names file, line, column and reason of each.
func Load(settings Settings, files map[string]string) (*Set, error) {
	return (*Set)(nil).Next(settings, files)
}

// Next is Load after before, which may be nil: a file that did not change is
// not parsed and validated again, and the index only takes in what did.
func (before *Set) Next(settings Settings, files map[string]string) (*Set, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	l := newLoader()
	l.before = before
	if err := l.addGuards(settings); err != nil {
		return nil, err
	}
	l.addFiles(files)
	if bad := l.problems.errors(); len(bad) > 0 {
		return nil, bad
	}
	s := &Set{settings: settings, files: l.files, rules: l.rules, byID: l.byID, byFile: l.byFile}
	s.digest = digest(l.files)
	s.index = l.index()
	s.request, s.rulings = l.shape(), request.NewMemo[request.Key, ruled](rulings)
	s.pool.New = func() any { return newEvaluation(s) }
	return s, nil
}

// Digest is the SHA-256, in hex, of the rendered policies and their file
// names: two sets with one digest rule alike.
func (s *Set) Digest() string { return s.digest }

// Len is the number of policies, the guards included.
func (s *Set) Len() int { return len(s.rules) }

// Settings returns the numbers the guards were rendered with.
func (s *Set) Settings() Settings { return s.settings }

// Files returns the effective policy text by file name, guards included.
func (s *Set) Files() map[string]string { return maps.Clone(s.files) }

// Policies describes every policy in the order of files and lines.
func (s *Set) Policies() []Policy {
	out := make([]Policy, 0, len(s.rules))
	for _, r := range s.rules {
		out = append(out, Policy{
			ID: string(r.id), Text: r.reason.Text, Effect: effectOf(r), StepUp: r.stepUp,
			Position: r.reason.Position, Source: string(r.policy.MarshalCedar()), Guard: r.guard, Unscoped: r.scope.unscoped(),
		})
	}
	return out
}

func effectOf(r *rule) string {
	if r.permit {
		return effectPermit
	}
	return effectForbid
}

// digest hashes names and texts, each preceded by its length, in the order of
// names.
func digest(files map[string]string) string {
	h := sha256.New()
	var n [8]byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, part := range []string{name, files[name]} {
			binary.BigEndian.PutUint64(n[:], uint64(len(part)))
			h.Write(n[:])
			h.Write([]byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Quote writes a text as a literal of Cedar: whatever is in it, it ends where
// the literal ends.
func Quote(s string) string { return string(types.String(s).MarshalCedar()) }

// A Holder keeps the set in force. Replacing it is atomic: a question is
// answered wholly by the old set or wholly by the new one. The zero Holder
// denies everything.
type Holder struct {
	mu       sync.Mutex // serialises Replace and Configure; guards what follows
	settings Settings
	files    map[string]string
	set      atomic.Pointer[Set]
}

// NewHolder returns a Holder in which the built-in guards and files are in
// force.
func NewHolder(settings Settings, files map[string]string) (*Holder, error) {
	set, err := Load(settings, files)
	if err != nil {
		return nil, err
	}
	h := &Holder{settings: settings, files: files}
	h.set.Store(set)
	return h, nil
}

// Replace puts the guards and files in force, or returns why it does not and
// leaves the old set as it is.
func (h *Holder) Replace(files map[string]string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.load(h.settings, files)
}

// Prepare loads files as Replace does, and changes nothing.
func (h *Holder) Prepare(files map[string]string) (*Set, error) {
	return h.Set().Next(h.Set().settings, files)
}

// Use puts a set in force that Prepare loaded from files.
func (h *Holder) Use(set *Set, files map[string]string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if set.settings != h.settings {
		return h.load(h.settings, files)
	}
	h.files = files
	h.set.Store(set)
	return nil
}

// Configure puts the guards in force under other settings, or returns why it
// does not and leaves the old set as it is.
func (h *Holder) Configure(settings Settings) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.load(settings, h.files)
}

// load needs h.mu.
func (h *Holder) load(settings Settings, files map[string]string) error {
	set, err := h.set.Load().Next(settings, files)
	if err != nil {
		return err
	}
	h.settings, h.files = settings, files
	h.set.Store(set)
	return nil
}

// Source returns what is in force as it was given: the numbers of the guards, and
// the files of the operator. The caller must not change the files.
func (h *Holder) Source() (Settings, map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings, h.files
}

// Set returns the set in force, nil if there is none.
func (h *Holder) Set() *Set { return h.set.Load() }

// Evaluate answers q by the set in force.
func (h *Holder) Evaluate(q *nhi.Question) nhi.Ruling {
	set := h.set.Load()
	if set == nil {
		return denied("", "no-policy", "No policy is loaded, so nothing is allowed.")
	}
	return set.Evaluate(q)
}
