package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// A reading is an attribute of the schema as a policy reads it.
type reading struct {
	first string // asks for what may be absent
	has   string // asks for it; empty where that is not valid
	text  string
	of    resolved.IsType
}

// readings are every attribute of the schema, by name and by index.
var readings = sync.OnceValue(func() (out []reading) {
	var text schema.Schema
	if err := text.UnmarshalCedar(withZones(schemaText, []clause.Zone{{Name: "Asia/Tokyo"}})); err != nil {
		panic(err)
	}
	all, err := text.Resolve()
	if err != nil {
		panic(err)
	}
	var add func(first, at string, shape resolved.RecordType)
	add = func(first, at string, shape resolved.RecordType) {
		for _, name := range slices.Sorted(maps.Keys(shape)) {
			x := reading{first, first + at + " has " + Quote(string(name)), at + "[" + Quote(string(name)) + "]", shape[name].Type}
			if shape[name].Optional {
				x.first = x.has + " && "
			}
			switch {
			case at == "context.zones":
				x.has = ""
				out = append(out, x)
			case at+"."+string(name) != "context.zones":
				out = append(out, x)
				x.text = at + "." + string(name)
				out = append(out, x)
			default:
				x.text = "context.zones"
			}
			switch t := x.of.(type) {
			case resolved.RecordType:
				add(x.first, x.text, t)
			case resolved.EntityType:
				add(x.first, x.text, all.Entities[types.EntityType(t)].Shape)
			}
		}
	}
	add("", "principal", all.Entities["User"].Shape)
	add("", "resource", all.Entities["Resource"].Shape)
	add("", "context", all.Actions[types.NewEntityUID("Action", "read")].AppliesTo.Context)
	return out
})

// oddZones are zones with offsets and changes of their own, and one without.
var oddZones = []string{"Africa/Monrovia", "Australia/Lord_Howe", "Pacific/Apia", "UTC"}

// words are what text is, in policies and in questions.
var words = []string{"", "DE", "c1", "active", "prod", "2025-06-04"}

// randomReading is a condition on an attribute, and often on another of its type.
func randomReading(r *rand.Rand) string {
	x := pickOne(r, readings()...)
	if r.IntN(4) == 0 { // what a key holds in its own way
		x = pickOne(r, reading{has: "context has rate", text: pickOne(r, "principal.risk", "context.surprise", "context.rate", "context.delegation.depth", `context.zones["Asia/Tokyo"].minute`), of: resolved.LongType{}},
			reading{first: pickOne(r, "context has attestation && ", "context has attestation.age && "), has: "context has attestation", text: pickOne(r, "context.attestation.age", "context.attestation.age", `context.attestation["age"]`, "context.attestation.level"), of: resolved.LongType{}},
			reading{has: "context has zones", text: "context.zones[" + Quote(pickOne(r, oddZones...)) + "].minute", of: resolved.LongType{}},
			reading{has: "context has now", text: "context.now", of: resolved.ExtensionType("datetime")})
	}
	y := x
	for range 40 {
		if z := pickOne(r, readings()...); reflect.DeepEqual(z.of, x.of) {
			y = z
			break
		}
	}
	n, w := pickOne(r, "-9223372036854775808", "-1", "0", "2", "3", "40", "100", "9223372036854775807"), Quote(pickOne(r, words...))
	op := pickOne(r, "<", "<=", ">", ">=", "==", "!=")
	tests := []string{"%[1]s == %[1]s", "{a: %[1]s} == {a: %[2]s}", "[%[1]s].contains(%[2]s)", "[[%[1]s], [%[2]s]].containsAll([[%[1]s]])"}
	if x.has != "" && r.IntN(5) == 0 {
		return "(" + x.has + ")"
	}
	switch t := x.of.(type) {
	case resolved.BoolType:
		tests = append(tests, "%[1]s", "%[1]s", "!%[1]s", "%[1]s == %[2]s", "(if %[1]s then %[2]s else !%[2]s)")
	case resolved.LongType:
		tests = append(tests, "%[1]s %[3]s %[4]s", "%[1]s %[3]s %[4]s", "%[1]s %[3]s %[4]s", "%[4]s %[3]s %[1]s", "%[4]s %[3]s %[1]s", "%[1]s %[3]s %[2]s", "%[1]s + 1 %[3]s %[2]s - 2",
			"%[1]s * 3 %[3]s %[4]s", "-%[1]s %[3]s %[4]s", "[0, %[1]s].contains(%[4]s)", "{risk: %[1]s, rate: %[2]s}.risk %[3]s %[4]s", "{age: {now: %[1]s}}.age.now %[3]s %[4]s", "!(%[1]s %[3]s (%[4]s))", "%[1]s %[3]s -60", "(if %[1]s %[3]s 3 then %[1]s else 4) %[3]s %[4]s")
	case resolved.StringType:
		tests = append(tests, "%[1]s == %[5]s", "%[1]s == %[5]s", "%[1]s != %[2]s", `%[1]s like "*c*"`, `[%[5]s, "x"].contains(%[1]s)`, "{state: %[1]s}.state == %[5]s")
	case resolved.SetType:
		one := `"a:b"`
		if _, text := t.Element.(resolved.StringType); !text {
			one = `Identity::"nhi_2"`
		}
		tests = append(tests, "%[1]s.isEmpty()", "%[1]s.contains("+one+")", "%[1]s.containsAny(["+one+"])", "%[1]s == ["+one+"]", "["+one+"].containsAll(%[1]s)")
	case resolved.EntityType:
		tests = append(tests, `%[1]s == Credential::"crd_1"`, `%[1]s in [Credential::"crd_1", Credential::"crd_2"]`, `%[1]s is Credential in Credential::"crd_2"`, "%[1]s in resource", `[%[1]s].contains(Credential::"")`)
	case resolved.ExtensionType:
		if t == "ipaddr" {
			tests = append(tests, "%[1]s.isIpv4()", `%[1]s.isInRange(ip("10.0.0.0/31"))`, `%[1]s == ip("10.0.0.1")`, "%[1]s.isLoopback()")
			break
		}
		tests = append(tests, `%[1]s %[3]s datetime("2025-01-01")`, `%[1]s %[3]s datetime("2025-01-01")`, `datetime("2025-06-03T16:00:00+0100") %[3]s %[1]s`, `%[1]s %[3]s datetime("0001-01-01")`, `datetime("1972-01-07T00:44:30.001Z") %[3]s %[1]s`, `datetime("9999-12-31T23:59:59.999+0000") %[3]s %[1]s`, `{now: %[1]s}.now %[3]s datetime("2025-01-01")`, `%[1]s.toTime() %[3]s duration("12h")`, `%[1]s.offset(duration("1d")).durationSince(%[1]s).toDays() == 1`)
	}
	return "(" + x.first + y.first + fmt.Sprintf(pickOne(r, tests...), x.text, y.text, op, n, w) + ")"
}

// randomCondition joins conditions on attributes, and on entities.
func randomCondition(r *rand.Rand, depth int) string {
	inner := func() string { return randomCondition(r, depth-1) }
	switch n := r.IntN(10); {
	case depth > 0 && n < 4:
		return fmt.Sprintf(pickOne(r, "(%s && %s)", "(%s || %s)", "!(%s || !%s)", "[true, %s].contains(%s)", "((%s) == (%s))", "(if context.newAction then %s else %s)"), inner(), inner())
	case n < 8:
		return randomReading(r)
	}
	return "(" + pickOne(r, `principal in [Identity::"nhi_1", Identity::"nhi_2"]`, `principal is Workload in Environment::"prod"`, `principal is Role`, "principal in context.delegation.actors", "principal is Workload in context.delegation.actors", "principal in resource",
		`principal in (if context.newAction then Identity::"nhi_2" else Identity::"nhi_1")`, `principal is Workload in (if context.newAction then Environment::"prod" else Environment::"test")`,
		"principal == resource", "{p: principal} == {p: principal}", `[Resource::"r2", resource].contains(Resource::"r1")`, `{a: resource} == {a: Resource::"r1"}`,
		`resource == (if principal.owned then resource else Resource::"r1")`, `Resource::"r1" in Environment::"prod"`, `Resource::"r2".labelled`, `Resource::"r1" has labelled`, `Credential::"crd_1".pinned`, `Credential::"crd_2" has state`,
		`action in [Action::"read", Action::"any"]`, `[action].contains(Action::"write")`, `Action::"read" in Action::"any"`, `Action::"read" in action`, `(if principal.owned then action else Action::"read") in [Action::"any"]`,
		"{x: context}.x.asn > 4", "(if principal.owned then context else context) == context", "(if context.newAction then principal else principal).risk > 40", "principal has risk && context has location.cluster", "principal has foo", `principal.hasTag("x")`) + ")"
}

// fill fills in what is left of a question.
func fill(r *rand.Rand, q *nhi.Question) {
	b, rare := func() bool { return r.IntN(2) == 0 }, func() bool { return r.IntN(10) == 0 }
	k := &q.Known
	k.Pinned, k.ConsumerProven, k.Expired, k.Revoked, k.NewCountry, k.NewAgent, k.Interactive = b(), b(), rare(), rare(), b(), b(), b()
	texts := []*string{&q.Subject.Method, &q.Operation, (*string)(&q.Point), &k.Network, &k.AgentFamily, &k.Service, &k.Region, &k.Jurisdiction}
	if a := k.Attestation; a != nil {
		l := &a.Location
		texts = append(texts, &a.Method, &a.Device.Image, &l.Provider, &l.Account, &l.Region, &l.VPC, &l.Namespace, &l.Node)
		a.Level, a.Device.SecureBoot = nhi.EvidenceLevel(r.IntN(4)), rare()
	}
	for _, t := range texts {
		*t = pickOne(r, words...)
	}
	q.Address = pickOne(r, netip.Addr{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:10.0.0.1"))
}

// mixed is q with a few fields of other.
func mixed(r *rand.Rand, q, other *nhi.Question) *nhi.Question {
	out := *q
	for range 1 + r.IntN(3) {
		from, to := reflect.ValueOf(other).Elem(), reflect.ValueOf(&out).Elem()
		if part := pickOne(r, "", "Subject", "Known", "Known"); part != "" {
			from, to = from.FieldByName(part), to.FieldByName(part)
		}
		i := r.IntN(to.NumField())
		to.Field(i).Set(from.Field(i))
	}
	return &out
}
