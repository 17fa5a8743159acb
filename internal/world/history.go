package world

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// History yields about n CloudTrail records of the world's past, one JSON
// object each, the oldest first: [World.Gateway] and [World.Cloud] together.
// The slice is reused between records.
func (w *World) History(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		all := append(w.gatewayMoments(n/4, w.Workloads), w.cloudMoments(w.rand("cloud"), n-n/4)...)
		w.lines(all, yield)
	}
}

// Gateway yields the part of the history of n records that tells of the
// company's own interfaces, which only its workloads call; of is whose part,
// nil: everybody's. Such records have the form in which a gateway writes them
// to CloudTrail Lake as a source of its own: the service is the resource and
// the operation is the route.
func (w *World) Gateway(n int, of []*Workload) iter.Seq[[]byte] {
	if of == nil {
		of = w.Workloads
	}
	return func(yield func([]byte) bool) {
		w.lines(w.gatewayMoments(n/4, of), yield)
	}
}

// Cloud yields the rest of the history of n records: what happened in the
// company's cloud accounts.
func (w *World) Cloud(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) { w.lines(w.cloudMoments(w.rand("cloud"), n-n/4), yield) }
}

// lines writes moments in their order.
func (w *World) lines(all []moment, yield func([]byte) bool) {
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	var source rand.PCG
	r := rand.New(&source)
	var line []byte
	for _, m := range all {
		source.Seed(w.Seed, m.seed)
		line = w.record(r, line[:0], m)
		if !yield(line) {
			return
		}
	}
}

// A moment is one call at one time by an actor or a workload.
type moment struct {
	at       time.Time
	seed     uint64 // of the record's details, so that it is the same in every part of a history
	actor    *actor
	workload *Workload
	route    *Route // what a workload calls; nil: something usual
}

func (w *World) cloudMoments(r *rand.Rand, n int) []moment {
	var total float64
	for _, a := range w.actors {
		total += a.weight
	}
	out := make([]moment, 0, n+n/10)
	for _, a := range w.actors {
		for range int(a.weight/total*float64(n) + r.Float64()) {
			out = append(out, moment{at: w.when(r, a.when), seed: r.Uint64(), actor: a})
		}
	}
	return out
}

const week = 7 * 24 * time.Hour

// gatewayMoments draws what the workloads did, n records when all are asked
// for. Half of it is single calls, half is bursts of work such as live traffic
// makes; and each has a job that runs once a week, at the hour of the present.
func (w *World) gatewayMoments(n int, of []*Workload) []moment {
	var out []moment
	share := n / len(w.Workloads)
	for _, wl := range of {
		r := w.rand("gateway " + wl.Name)
		for range share / 2 {
			when := always
			if r.IntN(4) == 0 {
				when = office
			}
			out = append(out, moment{at: w.when(r, when), seed: r.Uint64(), workload: wl})
		}
		bursts := max(1, share/2/burst)
		every := w.Past / time.Duration(bursts)
		for i := range bursts {
			start := w.Start.Add(-w.Past + time.Duration(i)*every + time.Duration(r.Int64N(int64(every/2))))
			for range share / 2 / bursts {
				out = append(out, moment{at: start.Add(time.Duration(r.Int64N(int64(4 * time.Minute)))), seed: r.Uint64(), workload: wl})
			}
		}
		for back := week; back < w.Past; back += week {
			for range 3 {
				out = append(out, moment{at: w.Start.Add(-back + time.Duration(r.IntN(1800))*time.Second), seed: r.Uint64(), workload: wl, route: &wl.weekly})
			}
		}
	}
	return out
}

// burst is how many calls a workload makes within minutes when it is busy.
const burst = 100

// when draws a time of the past that fits a rhythm.
func (w *World) when(r *rand.Rand, k rhythm) time.Time {
	for {
		t := w.Start.Add(-time.Duration(r.Int64N(int64(w.Past))))
		switch h, d := t.Hour(), t.Weekday(); k {
		case office:
			if h < 7 || h > 18 || d == time.Saturday || d == time.Sunday {
				continue
			}
		case nightly:
			if h != 2 {
				continue
			}
		case weekly:
			if d != time.Monday || h > 6 {
				continue
			}
		}
		return t
	}
}

func (w *World) record(r *rand.Rand, b []byte, m moment) []byte {
	if m.workload != nil {
		return w.gatewayRecord(r, b, m)
	}
	a := m.actor
	c := weighted(r, a.calls)
	from := pick(r, a.from)
	addr := from.Address
	if r.IntN(12) == 0 {
		addr = neighbour(r, addr)
	}
	if a.kind == nhi.KindWorkload {
		c = call{service: "sts.amazonaws.com", operation: "AssumeRoleWithWebIdentity"}
	}
	return appendRecord(r, b, fields{
		at: m.at, account: a.account, identity: a.userIdentity(r, m.at), service: c.service, operation: c.operation,
		address: addr.String(), agent: a.agent, resources: a.resources(c), read: c.readOnly(),
	})
}

// resources names what a call touches, as CloudTrail does for some calls.
func (a *actor) resources(c call) string {
	if a.kind == nhi.KindWorkload {
		return fmt.Sprintf(`[{"accountId":"%s","type":"AWS::IAM::Role","ARN":"%s"}]`, a.account.ID, a.account.arn("role", a.assumes.name))
	}
	if c.service == "s3.amazonaws.com" {
		return fmt.Sprintf(`[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::harborpine-%s/data"},{"accountId":"%s","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::harborpine-%s"}]`,
			strings.SplitN(a.name, "-", 2)[0], a.account.ID, strings.SplitN(a.name, "-", 2)[0])
	}
	return ""
}

func weighted(r *rand.Rand, calls []call) call {
	total := 0
	for _, c := range calls {
		total += c.weight
	}
	if total == 0 {
		return call{}
	}
	n := r.IntN(total)
	for _, c := range calls {
		if n -= c.weight; n < 0 {
			return c
		}
	}
	return calls[0]
}

// userIdentity is the record's userIdentity element.
func (a *actor) userIdentity(r *rand.Rand, at time.Time) string {
	switch a.kind {
	case nhi.KindUser:
		return fmt.Sprintf(`{"type":"IAMUser","principalId":"%s","arn":"%s","accountId":"%s","accessKeyId":"%s","userName":"%s"}`,
			a.native, a.account.arn("user", a.name), a.account.ID, a.keys[0], a.name)
	case nhi.KindWorkload:
		provider := strings.TrimPrefix(a.issuer, "https://")
		return fmt.Sprintf(`{"type":"WebIdentityUser","principalId":"arn:aws:iam::%s:oidc-provider/%s:sts.amazonaws.com:%s","userName":"%s","identityProvider":"arn:aws:iam::%s:oidc-provider/%s"}`,
			a.account.ID, provider, a.subject, a.subject, a.account.ID, provider)
	default:
		session := fmt.Sprintf("i-%017x", r.Uint64()&0xfffffffffffff)
		return fmt.Sprintf(`{"type":"AssumedRole","principalId":"%s:%s","arn":"arn:aws:sts::%s:assumed-role/%s/%s","accountId":"%s","accessKeyId":"%s","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"%s","arn":"%s","accountId":"%s","userName":"%s"},"attributes":{"creationDate":"%s","mfaAuthenticated":"false"}}}`,
			a.native, session, a.account.ID, a.name, session, a.account.ID, "ASIA"+accessKeyID(r, a.account.ID)[4:],
			a.native, a.account.arn("role", a.name), a.account.ID, a.name, at.Add(-20*time.Minute).Format(time.RFC3339))
	}
}

type fields struct {
	at                           time.Time
	account                      Account
	identity, service, operation string
	address, agent, resources    string
	read                         bool
}

func appendRecord(r *rand.Rand, b []byte, f fields) []byte {
	b = fmt.Appendf(b, `{"eventVersion":"1.09","userIdentity":%s,"eventTime":"%s","eventSource":"%s","eventName":"%s","awsRegion":"%s","sourceIPAddress":"%s","userAgent":%s`,
		f.identity, f.at.UTC().Format(time.RFC3339), f.service, f.operation, f.account.Region, f.address, quoted(f.agent))
	b = fmt.Appendf(b, `,"requestParameters":null,"responseElements":null,"requestID":"%016x","eventID":"%08x-%04x-4%03x-8%03x-%012x","readOnly":%t`,
		r.Uint64(), r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64()&(1<<48-1), f.read)
	if f.resources != "" {
		b = append(append(b, `,"resources":`...), f.resources...)
	}
	return fmt.Appendf(b, `,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"%s","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"%s"}}`,
		f.account.ID, f.service)
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // a string always encodes
	}
	return string(b)
}

func (w *World) gatewayRecord(r *rand.Rand, b []byte, m moment) []byte {
	wl := m.workload
	a := wl.owner
	route := wl.usual(r)
	if m.route != nil {
		route = *m.route
	}
	return appendRecord(r, b, fields{
		at: m.at, account: a.account, identity: a.userIdentity(r, m.at), service: route.Resource, operation: route.Operation(),
		address: wl.Home.Address.String(), agent: wl.Agent, read: route.Action == nhi.Read,
	})
}
