package detect

import (
	"embed"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"sync"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
)

//go:embed rules/*.yaml
var ruleFiles embed.FS

// A Rule is what people are told about a kind of detection, and what of it
// can be said in data. Each rule carries samples that must and must not make
// it fire; the package's tests play them.
type Rule struct {
	ID       string       `yaml:"id"`
	Title    string       `yaml:"title"`    // of a finding in which it is the strongest
	Severity nhi.Severity `yaml:"severity"` // the least severity of such a finding; empty: by bits alone
	Phrase   string       `yaml:"phrase"`   // part of the sentence: "was used from {seen}[, usually {usual}]"
	Why      string       `yaml:"why"`      // why it matters
	Advice   string       `yaml:"advice"`   // what to do next
	// Dimension is that of the evidence: place, agent, what, when,
	// volume, credential, defence or human.
	Dimension string `yaml:"dimension"`
	// Feature and Usual name the evidence of a rule that matches by itself.
	Feature string `yaml:"feature"`
	Usual   string `yaml:"usual"`
	// Bits is what a match adds. Known replaces it when the identity has done
	// the same before, Young when the identity is new.
	Bits  float64 `yaml:"bits"`
	Known float64 `yaml:"known_bits"`
	Young float64 `yaml:"young_bits"`
	// Operations are those that match, as service:Operation; * for any service.
	Operations []string `yaml:"operations"`
	// Weights are the bits of the signs that are found by code, Signs further ones.
	Weights Weights `yaml:"weights"`
	Signs   []Sign  `yaml:"signs"`

	Samples []Sample `yaml:"samples"`

	dim        dimension
	operations map[string]bool
	weights    []float64 // in the order of the bits of a set of signs
}

// Weights are the bits of the signs of a person that are found by code.
type Weights struct {
	Console float64 `yaml:"console"`
	Tool    float64 `yaml:"tool"`
	Place   float64 `yaml:"place"`
	Typos   float64 `yaml:"typos"`
}

// A Sign is a further sign of a person: an operation never called before, or
// a word in a user agent never seen before.
type Sign struct {
	Name       string   `yaml:"name"`
	Bits       float64  `yaml:"bits"`
	Operations []string `yaml:"operations"`
	Agents     []string `yaml:"agents"`
}

// A Sample is a small history that a rule is tried on.
type Sample struct {
	Name       string           `yaml:"name"`
	Fires      bool             `yaml:"fires"`
	Identity   SampleIdentity   `yaml:"identity"`
	Credential SampleCredential `yaml:"credential"`
	Events     []SampleEvent    `yaml:"events"`
}

// SampleIdentity says what the inventory knows.
type SampleIdentity struct {
	Kind    nhi.Kind `yaml:"kind"`
	Unknown bool     `yaml:"unknown"`
}

// SampleCredential says what the inventory knows.
type SampleCredential struct {
	State  nhi.CredentialState `yaml:"state"`
	Leaked bool                `yaml:"leaked"`
}

// A SampleEvent is one event, or Times of them, Every minutes apart, the
// first After days after the one before.
type SampleEvent struct {
	Times     int             `yaml:"times"`
	Every     int             `yaml:"every_minutes"`
	After     int             `yaml:"after_days"`
	Action    string          `yaml:"action"` // service:Operation; %d is replaced by a running number
	Class     nhi.ActionClass `yaml:"class"`
	Resource  string          `yaml:"resource"` // %d likewise
	Agent     string          `yaml:"agent"`
	Error     string          `yaml:"error"`
	Principal string          `yaml:"principal"` // type
	Key       string          `yaml:"key"`       // static, session or none
	Console   bool            `yaml:"console"`
	Platform  bool            `yaml:"platform"`
	Young     bool            `yaml:"young"` // the page is not established
	// Bits is the surprise by feature; a feature named in New is new as well.
	Bits map[string]float64 `yaml:"bits"`
	New  []string           `yaml:"new"`
}

// A ruleSet is the rules by how they are looked for.
type ruleSet struct {
	list        []*Rule
	byID        map[string]*Rule
	byOperation map[string][]*Rule
}

// builtin returns the rules of the product. They are part of the program: a
// mistake in them is a bug that every test of this package finds.
var builtin = sync.OnceValue(func() *ruleSet {
	set, err := load(ruleFiles)
	if err != nil {
		panic(err)
	}
	return set
})

// Rules returns the rules of the product in the order of their ids. They must
// not be changed.
func Rules() []*Rule { return builtin().list }

// load reads every rule of a folder.
func load(files fs.FS) (*ruleSet, error) {
	names, err := fs.Glob(files, "rules/*.yaml")
	if err != nil {
		return nil, err
	}
	set := &ruleSet{byID: map[string]*Rule{}, byOperation: map[string][]*Rule{}}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		r := &Rule{}
		if err := strictyaml.Decode(name, text, r); err != nil {
			return nil, err
		}
		if err := r.compile(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if set.byID[r.ID] != nil {
			return nil, nhi.Invalidf("%s: id %s is taken", name, r.ID)
		}
		set.byID[r.ID] = r
		set.list = append(set.list, r)
		for op := range r.operations {
			_, verb, _ := strings.Cut(op, ":")
			set.byOperation[verb] = append(set.byOperation[verb], r)
		}
	}
	sort.Slice(set.list, func(i, j int) bool { return set.list[i].ID < set.list[j].ID })
	for _, rules := range set.byOperation {
		sort.Slice(rules, func(i, j int) bool { return rules[i].ID < rules[j].ID })
	}
	return set, nil
}

var dimensionNames = map[string]dimension{
	"place": place, "agent": agent, "what": what, "when": when, "volume": volume,
	"credential": credential, "defence": defence, "human": human,
}

// compile checks a rule and prepares what matching needs.
func (r *Rule) compile() error {
	dim, ok := dimensionNames[r.Dimension]
	switch {
	case r.ID == "" || r.Title == "" || r.Phrase == "" || r.Advice == "":
		return nhi.Invalidf("a rule needs id, title, phrase and advice")
	case !ok:
		return nhi.Invalidf("dimension %q is unknown", r.Dimension)
	case len(r.Signs) > 24:
		return nhi.Invalidf("more than 24 signs")
	}
	r.dim = dim
	r.operations = make(map[string]bool, len(r.Operations))
	for _, op := range r.Operations {
		if service, verb, ok := strings.Cut(op, ":"); !ok || service == "" || verb == "" {
			return nhi.Invalidf("operation %q is not service:Operation", op)
		}
		r.operations[op] = true
	}
	w := r.Weights
	r.weights = []float64{w.Console, w.Tool, w.Place, w.Typos}
	for _, s := range r.Signs {
		r.weights = append(r.weights, s.Bits)
	}
	return nil
}

// matches reports whether the rule names the event's operation. Only what
// succeeded has done harm.
func (r *Rule) matches(ev *nhi.Event) bool {
	if ev.Status != nhi.Success {
		return false
	}
	return r.operations["*:"+ev.Operation] || r.operations[action(ev)]
}
