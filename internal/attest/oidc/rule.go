package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
)

// A Rule trusts the tokens of one issuer that carry these claims to be one
// identity. It is one entry of trust.yaml:
//
//   - name: payments-ci
//     issuer: https://token.actions.githubusercontent.com
//     audience: https://muster.example
//     claims:
//     repository_id: "4711"
//     ref: refs/heads/main
//     environment: [staging, production]
//     identity: nhi_v6w2kopezgzwfpmsgulnrizwq4
type Rule struct {
	Name     string            `json:"name"`
	Issuer   string            `json:"issuer"`             // iss, byte for byte
	JWKSURI  string            `json:"jwks_uri,omitempty"` // where its keys are; empty: by discovery
	Audience string            `json:"audience"`           // must be among aud
	Claims   map[string]Values `json:"claims"`             // dotted path to the values allowed
	Identity nhi.ID            `json:"identity"`           // who such a token is

	// SPIFFE is the SPIFFE ID of the X.509-SVIDs that are this identity, in place of
	// a token: then of the rest only Location is set. Package svid verifies them.
	SPIFFE string `json:"spiffe_id,omitempty"`

	// Use says where such a token is accepted: [UseExchange], [UsePoints] or both.
	// Empty: for an exchange only.
	Use []string `json:"use,omitempty"`
	// Origins (scheme, host, port) are the services that the audience stands for,
	// where it is neither the origin of one nor Muster's own URL. At points the
	// tokens are good there alone.
	Origins []string `json:"origins,omitempty"`

	// What is issued for it. Empty audiences: tokens for Muster's own points
	// only. Bearer allows tokens that are bound to no key, and is a finding.
	Audiences []string      `json:"audiences,omitempty"`
	Scopes    []string      `json:"scopes,omitempty"`
	Bearer    bool          `json:"bearer,omitempty"`
	TTL       time.Duration `json:"ttl,omitempty"`      // nanoseconds; zero: the issuer's default
	Purposes  []string      `json:"purposes,omitempty"` // of which a token may be asked for one

	// Location is where every workload of the rule runs, as far as its token
	// does not say so itself: the cluster of an issuer, the account of a runner.
	Location nhi.Location `json:"location,omitzero"`
}

// Values are what a claim may be: one of these texts, exactly. Numbers and
// booleans are written as JSON writes them.
type Values []string

// wire is a rule as it stands in the file, with the lines for errors.
type wire struct {
	Name      text            `yaml:"name"`
	Issuer    text            `yaml:"issuer"`
	JWKSURI   text            `yaml:"jwks_uri"`
	Audience  text            `yaml:"audience"`
	Claims    map[string]list `yaml:"claims"`
	Identity  text            `yaml:"identity"`
	SPIFFE    text            `yaml:"spiffe_id"`
	Use       list            `yaml:"use"`
	Origins   list            `yaml:"origins"`
	Audiences list            `yaml:"audiences"`
	Scopes    list            `yaml:"scopes"`
	Bearer    bool            `yaml:"bearer"`
	TTL       time.Duration   `yaml:"ttl"`
	Purposes  list            `yaml:"purposes"`
	Location  place           `yaml:"location"`
}

// place is a location as it stands in the file.
type place struct {
	Provider  string `yaml:"provider"`
	Account   string `yaml:"account"`
	Region    string `yaml:"region"`
	VPC       string `yaml:"vpc"`
	Cluster   string `yaml:"cluster"`
	Namespace string `yaml:"namespace"`
	Node      string `yaml:"node"`
}

// text is a scalar and the line it stands on.
type text struct {
	value string
	line  int
}

// list is one scalar or several, as written: a number keeps its digits.
type list struct {
	values []string
	line   int
}

var errScalar = errors.New("must be text, a whole number, true or false")

// UnmarshalYAML keeps the scalar's own spelling.
func (t *text) UnmarshalYAML(node ast.Node) error {
	value, err := scalar(node)
	t.value = value
	if token := node.GetToken(); token != nil && token.Position != nil {
		t.line = token.Position.Line
	}
	return err
}

// UnmarshalYAML accepts a scalar or a sequence of scalars.
func (l *list) UnmarshalYAML(node ast.Node) error {
	if token := node.GetToken(); token != nil && token.Position != nil {
		l.line = token.Position.Line
	}
	nodes := []ast.Node{node}
	if sequence, ok := node.(*ast.SequenceNode); ok {
		nodes = sequence.Values
	}
	l.values = []string{}
	for _, n := range nodes {
		value, err := scalar(n)
		if err != nil {
			return err
		}
		l.values = append(l.values, value)
	}
	return nil
}

func scalar(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.BoolNode:
		return fmt.Sprint(n.Value), nil
	case *ast.IntegerNode:
		return n.Token.Value, nil
	}
	return "", errScalar
}

// Parse reads trust.yaml, or what stands in for it. Every rule is checked as
// New checks it. The error names file and line and wraps nhi.ErrInvalid.
func Parse(file string, data []byte) ([]Rule, error) {
	var entries []wire
	if err := strictyaml.Decode(file, data, &entries); err != nil {
		return nil, fmt.Errorf("%w: %w", nhi.ErrInvalid, err)
	}
	rules := make([]Rule, 0, len(entries))
	names := make(map[string]int, len(entries))
	for i := range entries {
		rule := entries[i].rule()
		line := max(entries[i].Name.line, 1)
		if err := rule.Check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, entries[i].lineOf(err, line), err)
		}
		if first, taken := names[rule.Name]; taken {
			return nil, fmt.Errorf("%s:%d: %w", file, line, nhi.Invalidf("rule %q is already on line %d", rule.Name, first))
		}
		names[rule.Name] = line
		rules = append(rules, rule)
	}
	return rules, nil
}

func (w *wire) rule() Rule {
	r := Rule{
		Name: w.Name.value, Issuer: w.Issuer.value, JWKSURI: w.JWKSURI.value, Audience: w.Audience.value, Identity: nhi.ID(w.Identity.value),
		SPIFFE: w.SPIFFE.value, Use: w.Use.values, Origins: w.Origins.values,
		Audiences: w.Audiences.values, Scopes: w.Scopes.values, Bearer: w.Bearer, TTL: w.TTL,
		Purposes: w.Purposes.values, Location: nhi.Location(w.Location),
	}
	if len(w.Claims) > 0 {
		r.Claims = make(map[string]Values, len(w.Claims))
	}
	for path, l := range w.Claims {
		r.Claims[path] = l.values
	}
	return r
}

// A fieldError says which field of a rule is wrong.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// lineOf returns the line of the field that err is about.
func (w *wire) lineOf(err error, otherwise int) int {
	var at *fieldError
	if !errors.As(err, &at) {
		return otherwise
	}
	line := map[string]int{
		"issuer": w.Issuer.line, "jwks_uri": w.JWKSURI.line, "audience": w.Audience.line, "identity": w.Identity.line,
		"spiffe_id": w.SPIFFE.line, "use": w.Use.line, "origins": w.Origins.line,
		"audiences": w.Audiences.line, "scopes": w.Scopes.line, "purposes": w.Purposes.line,
	}[at.field]
	if path, ok := strings.CutPrefix(at.field, "claims."); ok {
		line = w.Claims[path].line
	}
	if line == 0 {
		return otherwise
	}
	return line
}

const (
	maxTTL    = 15 * time.Minute
	maxClaims = 32
	maxValues = 64
)

// Check refuses a rule that is unsound: one that trusts everybody at an
// issuer, matches by pattern, or could be met by a name that changes hands.
// The error wraps nhi.ErrInvalid.
func (r *Rule) Check() error {
	bad := func(field, format string, args ...any) error {
		return &fieldError{field, nhi.Invalidf("rule %q: "+format, append([]any{r.Name}, args...)...)}
	}
	switch {
	case r.Name == "" || len(r.Name) > 128:
		return bad("name", "name is missing or too long")
	case !r.Identity.Valid():
		return bad("identity", "identity must be the id of an identity (nhi_…)")
	case r.SPIFFE != "" && !r.bare():
		return bad("spiffe_id", "a rule is about tokens or about a spiffe_id; with a spiffe_id it says name, identity and location, and no more")
	case r.SPIFFE != "":
		if why := checkLocation(&r.Location); why != "" {
			return bad("location", "location %s", why)
		}
		return nil
	case r.Audience == "":
		return bad("audience", "audience is missing: without it a token made for somebody else would do")
	case r.TTL < 0 || r.TTL > maxTTL:
		return bad("ttl", "ttl must be at most %v", maxTTL)
	case len(r.Claims) > maxClaims:
		return bad("claims", "more than %d claims", maxClaims)
	}
	if err := checkURL(r.Issuer); err != nil {
		return bad("issuer", "issuer %v", err)
	}
	if r.JWKSURI != "" {
		if err := checkURL(r.JWKSURI); err != nil {
			return bad("jwks_uri", "jwks_uri %v", err)
		}
	}
	for _, path := range sortedKeys(r.Claims) {
		if why := checkClaim(path, r.Claims[path]); why != "" {
			return bad("claims."+path, "claim %s %s", path, why)
		}
	}
	if why := r.pins(); why != "" {
		return bad("claims", "%s", why)
	}
	for _, p := range r.Purposes {
		if p == "" || !nhi.ValidPurpose(p) {
			return bad("purposes", "a purpose is a word of a-z, 0-9, '-', '.' and '/', at most %d long", nhi.MaxPurpose)
		}
	}
	if why := checkLocation(&r.Location); why != "" {
		return bad("location", "location %s", why)
	}
	if field, why := r.checkUse(); why != "" {
		return bad(field, "%s", why)
	}
	for _, values := range [][]string{r.Audiences, r.Scopes} {
		if slices.ContainsFunc(values, func(s string) bool { return s == "" || strings.ContainsAny(s, "*? \t\r\n\"\\") }) {
			return bad("audiences", "audiences and scopes are single words without patterns")
		}
	}
	return nil
}

// checkURL accepts an absolute https URL, or http on loopback.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, " \t\r\n") {
		return errors.New("must be an absolute URL without query, fragment or user")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return errors.New("must be https (http only on loopback)")
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

func checkClaim(path string, values Values) string {
	switch {
	case path == "" || len(path) > 256:
		return "has no name, or too long a name"
	case slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat", "jti"}, path):
		return "is checked by itself and pins nobody"
	case len(values) == 0 || len(values) > maxValues:
		return "allows no value, or too many"
	}
	for _, value := range values {
		if value == "" {
			return "allows an empty value"
		}
		if strings.ContainsAny(value, "*?") {
			return "holds a pattern: claims are compared exactly, so list every value"
		}
		if strings.HasSuffix(value, ":") || strings.HasSuffix(value, "/") {
			return "looks like a prefix: claims are compared exactly"
		}
	}
	return ""
}

// anchors are the claims that name one workload at their issuer, by what it
// cannot give away. One line of them must be pinned.
var anchors = [][]string{
	{"sub"},
	{"repository_id"}, // GitHub Actions
	{"project_id"},    // GitLab CI
	{"kubernetes.io.serviceaccount.uid"},
	{"kubernetes.io.namespace", "kubernetes.io.serviceaccount.name"},
	{"azp"}, {"client_id"}, {"oid"},
}

// github is the issuer of GitHub Actions for everybody on github.com.
const github = "https://token.actions.githubusercontent.com"

// pins says what is missing for the rule to name one workload.
func (r *Rule) pins() string {
	if strings.HasPrefix(r.Issuer, github) && r.Claims["repository_id"] == nil {
		return "pin repository_id: names of repositories and owners change hands"
	}
	for _, anchor := range anchors {
		if !slices.ContainsFunc(anchor, func(path string) bool { return r.Claims[path] == nil }) {
			return ""
		}
	}
	return "the claims name no workload: everybody with a token of this issuer would be this identity; pin sub, repository_id, project_id, or the Kubernetes namespace and service account"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// isLocal reports whether a URL that checkURL accepted is on loopback.
func isLocal(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isLoopback(u.Hostname())
}
