package list

import (
	"cmp"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// Decisions are the recent decisions, and those of the live stream.
var Decisions = frame.NewTable("decisions", "-at", "part of resource, operation, network, identity, key id or reason",
	func(d *nhi.Decision) string { return d.ID },
	decisionWords,
	frame.Text("id", "id of the decision", func(d *nhi.Decision) string { return d.ID }),
	frame.Word("outcome", "what was answered", words(nhi.Allow, nhi.Deny, nhi.StepUp), func(d *nhi.Decision) string { return string(cmp.Or(d.Outcome, nhi.Deny)) }),
	frame.Flag("would_refuse", "let pass by a point that only observes", func(d *nhi.Decision) bool { return d.WouldRefuse }),
	frame.Text("glass", "serial of the break-glass code that let it pass", func(d *nhi.Decision) string { return d.Glass }),
	frame.Text("identity", "id of who asked", func(d *nhi.Decision) string { return string(d.Identity) }),
	frame.Text("credential", "id of the credential", func(d *nhi.Decision) string { return string(d.Credential) }),
	frame.Text("key_id", "public id of the key, or id of the token", func(d *nhi.Decision) string { return d.KeyID }),
	frame.Text("method", "how the caller proved itself", func(d *nhi.Decision) string { return d.Method }),
	frame.Number("assurance", "0 static secret to 3 bound and attested", func(d *nhi.Decision) int64 { return int64(d.Assurance) }),
	frame.Text("point", "id of the enforcement point", func(d *nhi.Decision) string { return string(d.Point) }),
	frame.Text("resource", "what was asked for", func(d *nhi.Decision) string { return d.Resource }),
	frame.Number("sensitivity", "of the resource, 0 to 4", func(d *nhi.Decision) int64 { return int64(d.Sensitivity) }),
	frame.Text("action", "class of the action", func(d *nhi.Decision) string { return string(d.Action) }),
	frame.Text("operation", "the caller's own word for it", func(d *nhi.Decision) string { return d.Operation }),
	frame.Text("country", "two letters", func(d *nhi.Decision) string { return d.Country }),
	frame.Number("asn", "number of the network", func(d *nhi.Decision) int64 { return int64(d.ASN) }),
	frame.Text("network", "who runs the network", func(d *nhi.Decision) string { return d.Network }),
	frame.Text("address", "address of the caller", address),
	frame.Text("agent", "family of the program that asked", func(d *nhi.Decision) string { return d.Agent }),
	frame.Texts("policy", "a policy that determined it", determining),
	frame.Text("snapshot", "digest of the policies and guards that decided", func(d *nhi.Decision) string { return d.Policy }),
	frame.Flag("reported", "made by a point away from the server", func(d *nhi.Decision) bool { return d.Reported }),
	frame.Number("risk", "of the caller, 0 to 100", func(d *nhi.Decision) int64 { return int64(d.Risk) }),
	frame.Number("surprise", "bits, whole ones", func(d *nhi.Decision) int64 { return int64(d.Surprise / 10) }),
	frame.Time("at", "when", func(d *nhi.Decision) time.Time { return d.At }).Ordered(),
).Concerning(func(d *nhi.Decision) nhi.ID { return d.Identity })

func decisionWords(d *nhi.Decision) []string {
	out := []string{d.Resource, d.Operation, d.Network, string(d.Identity), d.KeyID}
	for _, r := range d.Reasons {
		out = append(out, r.Policy, r.Text)
	}
	return out
}

func address(d *nhi.Decision) string {
	if !d.Address.IsValid() {
		return ""
	}
	return d.Address.String()
}

// determining are the policies that determined d.
func determining(d *nhi.Decision) []string {
	reasons := make([]client.Reason, 0, len(d.Reasons))
	for i := range d.Reasons {
		reasons = append(reasons, client.Reason{Policy: d.Reasons[i].Policy, Effect: d.Reasons[i].Effect})
	}
	return against(d.Outcome != nhi.Allow || d.WouldRefuse || d.Glass != "", reasons)
}

// against names the policies among reasons. Of a refusal, also of one that was let
// pass, they are those that forbid: a permit that is a reason beside them did not
// decide.
func against(refused bool, reasons []client.Reason) []string {
	var all, forbid []string
	for _, r := range reasons {
		all = append(all, r.Policy)
		if r.Effect != "permit" {
			forbid = append(forbid, r.Policy)
		}
	}
	if refused && len(forbid) > 0 {
		return forbid
	}
	return all
}
