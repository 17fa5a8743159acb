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
// object each, the oldest first. The slice is reused between records.
//
// Records of the company's own interfaces (those that workloads call through
// the edge) are in the same form, as a gateway writes them to CloudTrail Lake
// for sources of its own: service is the resource, operation is the route.
func (w *World) History(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		r := w.rand("history")
		var line []byte
		for _, m := range w.moments(r, n) {
			line = w.record(r, line[:0], m)
			if !yield(line) {
				return
			}
		}
	}
}

// A moment is one call at one time by an actor or a workload.
type moment struct {
	at       time.Time
	actor    *actor
	workload *Workload
}

func (w *World) moments(r *rand.Rand, n int) []moment {
	var total float64
	for _, a := range w.actors {
		total += a.weight
	}
	// Workloads are what the story is about: a sixth of all records are
	// theirs, so that what is normal for them is well known.
	share := n / 6
	out := make([]moment, 0, n+n/10)
	for _, a := range w.actors {
		k := int(a.weight/total*float64(n-share) + r.Float64())
		for range k {
			out = append(out, moment{at: w.when(r, a.when), actor: a})
		}
	}
	for i, wl := range w.Workloads {
		for range share / len(w.Workloads) {
			when := always
			if r.IntN(4) == 0 {
				when = office
			}
			out = append(out, moment{at: w.when(r, when), workload: w.Workloads[i]})
		}
		// A job that runs once a week, on the hour the present is in.
		for back := 7 * 24 * time.Hour; back < w.Past; back += 7 * 24 * time.Hour {
			for range 3 {
				out = append(out, moment{at: w.Start.Add(-back + time.Duration(r.IntN(1800))*time.Second), workload: wl})
			}
		}
	}
	slices.SortFunc(out, func(a, b moment) int { return a.at.Compare(b.at) })
	return out
}

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
		address: addr.String(), agent: a.agent, resources: a.resources(c),
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
	at                            time.Time
	account                       Account
	identity, service, operation  string
	address, agent, resources, id string
}

func appendRecord(r *rand.Rand, b []byte, f fields) []byte {
	b = fmt.Appendf(b, `{"eventVersion":"1.09","userIdentity":%s,"eventTime":"%s","eventSource":"%s","eventName":"%s","awsRegion":"%s","sourceIPAddress":"%s","userAgent":%s`,
		f.identity, f.at.UTC().Format(time.RFC3339), f.service, f.operation, f.account.Region, f.address, quoted(f.agent))
	read := strings.HasPrefix(f.operation, "Get") || strings.HasPrefix(f.operation, "List") || strings.HasPrefix(f.operation, "Describe") || strings.HasPrefix(f.operation, "GET")
	b = fmt.Appendf(b, `,"requestParameters":null,"responseElements":null,"requestID":"%016x","eventID":"%08x-%04x-4%03x-8%03x-%012x","readOnly":%t`,
		r.Uint64(), r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64()&(1<<48-1), read)
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
	return appendRecord(r, b, fields{
		at: m.at, account: a.account, identity: a.userIdentity(r, m.at), service: route.Resource, operation: route.Operation(),
		address: wl.Home.Address.String(), agent: wl.Agent,
	})
}
