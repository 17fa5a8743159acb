package bench

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The crowd is who asks the servers: identities in environments, and resources
// that they ask about. Its numbers share no factor, so that every mix occurs.
const (
	crowdIdentities   = 200
	crowdEnvironments = 23
	crowdResources    = 97
)

// A member is an identity of the crowd. Muster keeps what is said here in its
// inventory; the others are told with each request.
type member struct {
	id           string
	environment  string
	class        string // production or nonproduction
	owned, known bool
}

func environment(i int) (name, class string) {
	if i%5 == 4 {
		return fmt.Sprintf("e%d", i), "nonproduction"
	}
	return fmt.Sprintf("e%d", i), "production"
}

// A thing is a resource of the crowd.
type thing struct {
	name, class string
	sensitivity int
}

func resource(i int) thing {
	class := "production"
	if i%8 == 7 {
		class = "nonproduction"
	}
	return thing{name: fmt.Sprintf("r%d", i), class: class, sensitivity: i % 4}
}

// A request is one question that all servers are asked.
type request struct {
	who    member
	what   thing
	action string
}

// A grant permits something: six in ten name one identity and one resource,
// three an environment and a resource, one a resource alone. All of them ask
// for a risk below 50 besides.
type grant struct {
	name        string
	member      int // of the crowd; -1: anybody
	environment int // -1: any
	resource    int
	action      string // empty: any
}

func grantAt(i int) grant {
	g := grant{name: fmt.Sprintf("g%d", i), member: -1, environment: -1, resource: i * 7 % crowdResources, action: "read"}
	switch {
	case i%10 < 6:
		g.member = i % crowdIdentities
	case i%10 < 9:
		g.environment, g.action = i%crowdEnvironments, ""
	}
	return g
}

// requests are n questions about a set of grants: most ask for what some grant
// names, every fourth for something that none may name, and every fiftieth
// comes from somebody whom nobody knows.
func requests(crowd []member, grants, n int) []request {
	out := make([]request, n)
	for i := range out {
		g := grantAt(i * 131 % grants)
		r := request{who: crowd[i*17%len(crowd)], what: resource(g.resource), action: "read"}
		switch {
		case g.member >= 0:
			r.who = crowd[g.member]
		case g.environment >= 0:
			r.who, r.action = crowd[g.environment], [...]string{"read", "write", "admin"}[i%3]
		}
		if i%4 == 3 {
			r.what = resource((g.resource + i) % crowdResources)
		}
		if i%50 == 49 {
			r.who = member{id: "nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa", environment: "e0", class: "production"}
		}
		out[i] = r
	}
	return out
}

// inCedar writes n grants for Muster.
func inCedar(crowd []member, n int) string {
	var b strings.Builder
	for i := range n {
		g := grantAt(i)
		who, action := "principal", "action"
		if g.member >= 0 {
			who = fmt.Sprintf("principal in Identity::%q", crowd[g.member].id)
		}
		if g.environment >= 0 {
			who = fmt.Sprintf("principal in Environment::\"e%d\"", g.environment)
		}
		if g.action != "" {
			action = fmt.Sprintf("action == Action::%q", g.action)
		}
		fmt.Fprintf(&b, "@id(%q) permit (%s, %s, resource == Resource::\"r%d\") when { context.assurance >= 0 && principal.risk < 50 };\n", g.name, who, action, g.resource)
	}
	return b.String()
}

// inRego writes them for OPA, in the form that its rule index can use: plain
// equalities, one value each.
func inRego(crowd []member, n int) string {
	var b strings.Builder
	b.WriteString("package muster\n")
	for i := range n {
		g := grantAt(i)
		fmt.Fprintf(&b, "permit contains %q if {\n", g.name)
		if g.member >= 0 {
			fmt.Fprintf(&b, "  input.principal.id == %q\n", crowd[g.member].id)
		}
		if g.environment >= 0 {
			fmt.Fprintf(&b, "  input.principal.environment == \"e%d\"\n", g.environment)
		}
		if g.action != "" {
			fmt.Fprintf(&b, "  input.action == %q\n", g.action)
		}
		fmt.Fprintf(&b, "  input.resource.name == \"r%d\"\n  input.context.assurance >= 0\n  input.principal.risk < 50\n}\n", g.resource)
	}
	return b.String()
}

// cerbosGuards are the guards as conditions of rules that deny. Cerbos knows
// allow and deny, so a step-up is a denial here.
var cerbosGuards = []struct{ name, action, when string }{
	{"unknown-subject", "*", `!P.attr.known`},
	{"identity-quarantined", "*", `P.attr.state == "quarantined"`},
	{"identity-inactive", "*", `P.attr.known && !(P.attr.state in ["active", "dormant", "deprecated", "quarantined"])`},
	{"unowned-issue", "issue", `!P.attr.owned`},
	{"unowned-admin", "admin", `!P.attr.owned`},
	{"unowned-sensitive", "*", `R.attr.sensitivity >= 3 && !P.attr.owned`},
	{"risk-too-high", "*", `P.attr.risk > 80`},
	{"environment-crossing", "*", `(P.attr.class == "production" && R.attr.class == "nonproduction") || (P.attr.class == "nonproduction" && R.attr.class == "production")`},
	{"credential-suspended", "*", `P.attr.credential.state == "suspended"`},
	{"credential-revoked", "*", `P.attr.credential.revoked || P.attr.credential.state == "revoked"`},
	{"credential-expired", "*", `P.attr.credential.expired`},
	{"credential-unknown-state", "*", `P.attr.credential.known && !(P.attr.credential.state in ["active", "narrowed", "suspended", "revoked"])`},
	{"consumer-missing", "*", `(P.attr.credential.pinned || P.attr.credential.state == "narrowed") && !P.attr.credential.consumerProven`},
	{"assurance-too-low", "*", `P.attr.assurance <= 0 && R.attr.sensitivity >= 3`},
	{"new-network", "*", `P.attr.newNetwork && !P.attr.senderBound`},
	{"new-country", "*", `P.attr.newCountry && !P.attr.senderBound`},
	{"new-action", "*", `P.attr.newAction && P.attr.assurance <= 0 && P.attr.credential.known && !P.attr.senderBound`},
	{"surprising", "*", `P.attr.surprise >= 130 && !P.attr.senderBound`},
}

// A cerbosRule is one rule of a resource policy.
type cerbosRule struct {
	Name      string         `json:"name"`
	Actions   []string       `json:"actions"`
	Effect    string         `json:"effect"`
	Roles     []string       `json:"roles"`
	Condition map[string]any `json:"condition"`
}

func rule(name, action, effect, role, expression string) cerbosRule {
	return cerbosRule{Name: name, Actions: []string{action}, Effect: effect, Roles: []string{role},
		Condition: map[string]any{"match": map[string]any{"expr": expression}}}
}

// inCerbos writes them for Cerbos, a policy for each resource, in the form that
// its own index can use: an identity and an environment are roles of the
// principal. The result are files by their names.
func inCerbos(crowd []member, n int) (map[string][]byte, error) {
	rules := map[int][]cerbosRule{}
	for i := range n {
		g := grantAt(i)
		role, action := "*", "*"
		if g.member >= 0 {
			role = crowd[g.member].id
		}
		if g.environment >= 0 {
			role = fmt.Sprintf("e%d", g.environment)
		}
		if g.action != "" {
			action = g.action
		}
		rules[g.resource] = append(rules[g.resource], rule(g.name, action, "EFFECT_ALLOW", role, "P.attr.assurance >= 0 && P.attr.risk < 50"))
	}
	files := map[string][]byte{}
	for i, list := range rules {
		for _, g := range cerbosGuards {
			list = append(list, rule(g.name, g.action, "EFFECT_DENY", "*", g.when))
		}
		body, err := json.Marshal(map[string]any{
			"apiVersion":     "api.cerbos.dev/v1",
			"resourcePolicy": map[string]any{"resource": fmt.Sprintf("r%d", i), "version": "default", "rules": list},
		})
		if err != nil {
			return nil, err
		}
		files[fmt.Sprintf("r%d.json", i)] = body
	}
	return files, nil
}

// asAuthZEN is the question as Muster gets it: who, what, which. Everything
// else it knows itself.
func (r *request) asAuthZEN() any {
	return map[string]any{
		"subject":  map[string]any{"type": "identity", "id": r.who.id},
		"action":   map[string]any{"name": r.action},
		"resource": map[string]any{"type": "api", "id": r.what.name},
		"context":  map[string]any{"ip": "203.0.113.7", "user_agent": "settler/1.4"},
	}
}

// state is the state of the identity. One that nobody knows has none.
func (m *member) state() string {
	if !m.known {
		return ""
	}
	return "active"
}

// Nothing is known of a credential where a caller is only asserted.
var credentialOf = map[string]any{"known": false, "state": "", "pinned": false, "consumerProven": false, "expired": false, "revoked": false}

// asOPA is the question with all that Muster looks up by itself.
func (r *request) asOPA() any {
	return map[string]any{"input": map[string]any{
		"action": r.action,
		"principal": map[string]any{
			"id": r.who.id, "known": r.who.known, "state": r.who.state(), "owned": r.who.owned, "risk": 0,
			"environment": r.who.environment, "class": r.who.class,
		},
		"resource": map[string]any{"name": r.what.name, "sensitivity": r.what.sensitivity, "class": r.what.class},
		"context": map[string]any{
			"assurance": 0, "senderBound": false, "newNetwork": false, "newCountry": false, "newAction": false, "surprise": 0, "credential": credentialOf,
		},
	}}
}

// asCerbos is the same for Cerbos.
func (r *request) asCerbos() any {
	return map[string]any{
		"requestId": "1",
		"principal": map[string]any{
			"id": r.who.id, "roles": []string{"identity", r.who.id, r.who.environment},
			"attr": map[string]any{
				"known": r.who.known, "state": r.who.state(), "owned": r.who.owned, "risk": 0, "class": r.who.class,
				"assurance": 0, "senderBound": false, "newNetwork": false, "newCountry": false, "newAction": false, "surprise": 0, "credential": credentialOf,
			},
		},
		"resources": []any{map[string]any{
			"actions": []string{r.action},
			"resource": map[string]any{
				"kind": r.what.name, "id": r.what.name, "attr": map[string]any{"sensitivity": r.what.sensitivity, "class": r.what.class},
			},
		}},
	}
}
