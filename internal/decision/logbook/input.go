package logbook

import (
	"strconv"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// appendInputs appends what encoding/json would write for in.
func appendInputs(b []byte, in *nhi.Inputs) []byte {
	b = strconv.AppendBool(append(b, `{"known":`...), in.Known)
	b = appendText(b, `,"kind":`, string(in.Kind))
	b = appendText(b, `,"state":`, string(in.State))
	b = appendTrue(b, `,"owned":`, in.Owned)
	b = appendText(b, `,"env":`, in.Environment)
	b = appendText(b, `,"class":`, string(in.Class))
	b = appendTrue(b, `,"stored":`, in.Stored)
	b = appendText(b, `,"cred_state":`, string(in.CredentialState))
	b = appendTrue(b, `,"pinned":`, in.Pinned)
	b = appendTrue(b, `,"expired":`, in.Expired)
	b = appendTrue(b, `,"revoked":`, in.Revoked)
	if in.Attestation != nil {
		b = appendAttestation(append(b, `,"attestation":`...), in.Attestation)
	}
	if in.Approval != nil {
		b = appendApproval(append(b, `,"approval":`...), in.Approval)
	}
	b = appendText(b, `,"purpose":`, in.Purpose)
	b = appendTexts(b, `,"actors":`, in.Actors)
	b = appendTrue(b, `,"labelled":`, in.Labelled)
	b = appendText(b, `,"res_env":`, in.ResourceEnvironment)
	b = appendText(b, `,"res_class":`, string(in.ResourceClass))
	b = appendText(b, `,"service":`, in.Service)
	b = appendText(b, `,"region":`, in.Region)
	b = appendText(b, `,"jurisdiction":`, in.Jurisdiction)
	b = appendTrue(b, `,"interactive":`, in.Interactive)
	b = appendTrue(b, `,"new_network":`, in.NewNetwork)
	b = appendTrue(b, `,"new_country":`, in.NewCountry)
	b = appendTrue(b, `,"new_action":`, in.NewAction)
	b = appendTrue(b, `,"new_agent":`, in.NewAgent)
	b = appendNumber(b, `,"rate":`, int64(in.Rate))
	b = appendNumber(b, `,"lag":`, int64(in.Lag))
	b = appendNumber(b, `,"facts_age":`, int64(in.FactsAge))
	return append(b, '}')
}

func appendAttestation(b []byte, a *nhi.Attestation) []byte {
	b = appendString(append(b, `{"method":`...), a.Method)
	b = appendTime(append(b, `,"at":`...), a.At)
	b = strconv.AppendInt(append(b, `,"level":`...), int64(a.Level), 10)
	b = appendTexts(b, `,"selectors":`, a.Selectors)
	if l := &a.Location; *l != (nhi.Location{}) {
		b = append(b, `,"location":{`...)
		from := len(b)
		b = appendText(b, `,"provider":`, l.Provider)
		b = appendText(b, `,"account":`, l.Account)
		b = appendText(b, `,"region":`, l.Region)
		b = appendText(b, `,"vpc":`, l.VPC)
		b = appendText(b, `,"cluster":`, l.Cluster)
		b = appendText(b, `,"namespace":`, l.Namespace)
		b = appendText(b, `,"node":`, l.Node)
		b = append(withoutComma(b, from), '}')
	}
	if v := &a.Device; *v != (nhi.Device{}) {
		b = append(b, `,"device":{`...)
		from := len(b)
		b = appendText(b, `,"id":`, v.ID)
		b = appendTrue(b, `,"attested":`, v.Attested)
		b = appendTrue(b, `,"secure_boot":`, v.SecureBoot)
		b = appendText(b, `,"image":`, v.Image)
		b = append(withoutComma(b, from), '}')
	}
	return append(b, '}')
}

// withoutComma takes out the comma at b[at].
func withoutComma(b []byte, at int) []byte { return append(b[:at], b[at+1:]...) }

func appendApproval(b []byte, a *nhi.InputApproval) []byte {
	b = appendString(append(b, `{"id":`...), a.ID)
	b = appendTexts(b, `,"by":`, a.By)
	return append(appendTime(append(b, `,"expires":`...), a.Expires), '}')
}

func appendTexts[S ~string](b []byte, name string, texts []S) []byte {
	if len(texts) == 0 {
		return b
	}
	b = append(append(b, name...), '[')
	for i, s := range texts {
		b = appendString(appendComma(b, i), string(s))
	}
	return append(b, ']')
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendTime writes t, in UTC. A year that has not four digits could not be
// read back, and no clock shows one: it is the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		t = time.Time{}
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
