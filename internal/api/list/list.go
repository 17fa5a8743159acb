// Package list holds the lists that are narrowed in memory: decisions, actions,
// the audit log and refusals, which are read backwards, and what people make by
// hand, which is little. Each field stands beside how it is read from a row.
// Lists that the store narrows are in package filter. Together they are the
// source of docs/reference/filter.md, which a test compares.
package list

import (
	"slices"
	"strconv"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/desk"
	"github.com/muster-id/muster/internal/usage"
)

// Languages are those of all lists, in the order of the documentation.
var Languages = slices.Concat(filter.Languages, []*filter.Language{
	Decisions.Language, Actions.Language, Audit.Language, Refusals.Language, Points.Language, Sources.Language, Channels.Language, SignalStreams.Language, SignalPeers.Language, People.Language, Tokens.Language, Sessions.Language, Views.Language,
})

// Refusals are those who were not let in.
var Refusals = frame.NewTable("refusals", "-at", "part of identity, claimed, operation, resource or reason",
	func(r *usage.Refusal) string { return r.ID },
	func(r *usage.Refusal) []string {
		return []string{string(r.Identity), r.Claimed, r.Operation, r.Resource, r.Reason}
	},
	frame.Word("kind", "why somebody was not let in", words(usage.FailedAuthentication, usage.UnknownPrincipal, usage.Denied, usage.SteppedUp), func(r *usage.Refusal) string { return string(r.Kind) }),
	frame.Text("identity", "id of the proven identity", func(r *usage.Refusal) string { return string(r.Identity) }),
	frame.Text("claimed", "who the caller says to be", func(r *usage.Refusal) string { return r.Claimed }),
	frame.Text("point", "id of the point; empty for the management interface", func(r *usage.Refusal) string { return string(r.Point) }),
	frame.Text("address", "of the caller", func(r *usage.Refusal) string { return r.Address }),
	frame.Text("operation", "what was asked for, such as GET /payments/{id}", func(r *usage.Refusal) string { return r.Operation }),
	frame.Text("resource", "name of the resource", func(r *usage.Refusal) string { return r.Resource }),
	frame.Text("reason", "the policy that refused", func(r *usage.Refusal) string { return r.Reason }),
	frame.Number("count", "more than 1: a flood, counted instead of listed", func(r *usage.Refusal) int64 { return int64(r.Count) }),
	frame.Time("at", "when", func(r *usage.Refusal) time.Time { return r.At }).Ordered(),
).Concerning(func(r *usage.Refusal) nhi.ID { return r.Identity })

// Actions are what was done about findings.
var Actions = frame.NewTable("actions", "-at", "part of reason, actor, identity or credential",
	func(a *nhi.Action) string { return a.ID },
	func(a *nhi.Action) []string {
		return []string{a.Reason, a.Actor, string(a.Identity), string(a.Credential)}
	},
	frame.Text("id", "id of the action", func(a *nhi.Action) string { return a.ID }),
	frame.Word("measure", "what was done", words(nhi.MeasureNarrow, nhi.MeasureSuspend, nhi.MeasureQuarantine, nhi.MeasureRevoke), func(a *nhi.Action) string { return string(a.Measure) }),
	frame.Word("status", "how far it got", words(nhi.ActionDone, nhi.ActionUndone, nhi.ActionProposed, nhi.ActionRefused), func(a *nhi.Action) string { return string(a.Status) }),
	frame.Text("identity", "id of the identity", func(a *nhi.Action) string { return string(a.Identity) }),
	frame.Text("credential", "id of the credential", func(a *nhi.Action) string { return string(a.Credential) }),
	frame.Text("finding", "id of the finding that caused it", func(a *nhi.Action) string { return a.Finding }),
	frame.Text("actor", "who caused it: a rule or a person", func(a *nhi.Action) string { return a.Actor }),
	frame.Time("at", "when", func(a *nhi.Action) time.Time { return a.At }).Ordered(),
).Concerning(func(a *nhi.Action) nhi.ID { return a.Identity })

// Audit is the audit log.
var Audit = frame.NewTable("audit entries", "-at", "part of actor, act, target or reason",
	func(e *client.Entry) string { return strconv.FormatUint(e.Seq, 10) },
	func(e *client.Entry) []string { return []string{e.Actor, e.Act, e.Target, e.Reason} },
	frame.Text("actor", "who did it, such as operator:mara", func(e *client.Entry) string { return e.Actor }),
	frame.Text("act", "what was done, such as credential.create", func(e *client.Entry) string { return e.Act }),
	frame.Text("target", "id of what it was done to", func(e *client.Entry) string { return e.Target }),
	frame.Text("outcome", "done, refused or error", func(e *client.Entry) string { return e.Outcome }),
	frame.Time("at", "when", func(e *client.Entry) time.Time { return e.At }).Ordered(),
)

// Points are the enforcement points.
var Points = frame.NewTable("points", "name", "part of name, resource or address",
	func(p *nhi.Point) string { return string(p.ID) },
	func(p *nhi.Point) []string { return slices.Concat([]string{p.Name}, p.Resources, p.Sources) },
	frame.Text("id", "id of the point", func(p *nhi.Point) string { return string(p.ID) }),
	frame.Text("name", "name", func(p *nhi.Point) string { return p.Name }).Ordered(),
	frame.Text("dialect", "what speaks there, such as nginx", func(p *nhi.Point) string { return string(p.Dialect) }),
	frame.Word("mode", "whether it refuses", words(nhi.Observe, nhi.Enforce), func(p *nhi.Point) string { return string(frame.Mode(p.Mode)) }),
	frame.Number("percent", "how many of a hundred requests it enforces", func(p *nhi.Point) int64 { return int64(p.Percent) }),
	frame.Texts("resource", "what it guards", func(p *nhi.Point) []string { return p.Resources }),
	frame.Texts("source", "an address or prefix that it speaks from", func(p *nhi.Point) []string { return p.Sources }),
	frame.Flag("disabled", "no longer let in", func(p *nhi.Point) bool { return p.Disabled }),
	frame.Time("created", "when it was enrolled", func(p *nhi.Point) time.Time { return p.Created }).Ordered(),
)

// Sources are what reports logs and sightings.
var Sources = frame.NewTable("sources", "name", "part of name, format or account",
	func(v *nhi.Source) string { return string(v.ID) },
	func(v *nhi.Source) []string { return slices.Concat([]string{v.Name, v.Format}, v.Accounts) },
	frame.Text("id", "id of the source", func(v *nhi.Source) string { return string(v.ID) }),
	frame.Text("name", "name", func(v *nhi.Source) string { return v.Name }).Ordered(),
	frame.Text("format", "what it sends, such as cloudtrail", func(v *nhi.Source) string { return v.Format }),
	frame.Texts("account", "an account that it speaks about", func(v *nhi.Source) []string { return v.Accounts }),
	frame.Flag("disabled", "no longer let in", func(v *nhi.Source) bool { return v.Disabled }),
	frame.Time("created", "when it was added", func(v *nhi.Source) time.Time { return v.Created }).Ordered(),
)

// Channels are the ways by which people are told.
var Channels = frame.NewTable("channels", "name", "part of name, kind or error",
	func(c *client.Channel) string { return c.Name },
	func(c *client.Channel) []string { return []string{c.Name, c.Kind, c.Error} },
	frame.Text("name", "of the receiver in the configuration", func(c *client.Channel) string { return c.Name }).Ordered(),
	frame.Word("kind", "how it tells", []string{"webhook", "email", "slack"}, func(c *client.Channel) string { return c.Kind }),
	frame.Flag("failing", "the last attempt failed", func(c *client.Channel) bool { return c.FailingSince != nil }),
	frame.Time("last_sent", "when the receiver last took one", func(c *client.Channel) time.Time { return since(c.LastSent) }).Ordered(),
)

// SignalStreams are the streams of shared signals.
var SignalStreams = frame.NewTable("signal streams", "created", "part of id, name, description, reason or error",
	func(v *client.SignalStream) string { return v.ID },
	func(v *client.SignalStream) []string { return []string{v.ID, v.Name, v.Description, v.Reason, v.Error} },
	frame.Text("name", "of the source that receives", func(v *client.SignalStream) string { return v.Name }),
	frame.Text("receiver", "identity of that source", func(v *client.SignalStream) string { return v.Receiver }),
	frame.Word("status", "of the stream", []string{"enabled", "paused", "disabled"}, func(v *client.SignalStream) string { return v.Status }),
	frame.Word("delivery", "how events are delivered", []string{"push", "poll"}, func(v *client.SignalStream) string { return v.Delivery }),
	frame.Number("waiting", "events that are not acknowledged", func(v *client.SignalStream) int64 { return int64(v.Waiting) }),
	frame.Time("created", "when its receiver made it", func(v *client.SignalStream) time.Time { return v.Created }).Ordered(),
)

// SignalPeers are the transmitters that Muster listens to.
var SignalPeers = frame.NewTable("signal peers", "name", "part of name, issuer or error",
	func(v *client.SignalPeer) string { return v.Name },
	func(v *client.SignalPeer) []string { return []string{v.Name, v.Issuer, v.Error} },
	frame.Text("name", "in the configuration", func(v *client.SignalPeer) string { return v.Name }).Ordered(),
	frame.Text("issuer", "of its signals", func(v *client.SignalPeer) string { return v.Issuer }),
	frame.Word("delivery", "how its signals come", []string{"push", "poll"}, func(v *client.SignalPeer) string { return v.Delivery }),
	frame.Flag("failing", "it cannot be polled", func(v *client.SignalPeer) bool { return v.FailingSince != nil }),
	frame.Time("last_heard", "when it last said something", func(v *client.SignalPeer) time.Time { return since(v.LastHeard) }).Ordered(),
)

// since is a time that may not be there.
func since(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Views are somebody's saved views.
var Views = frame.NewTable("views", "name", "part of id, name, page or query",
	func(v *desk.View) string { return v.ID },
	func(v *desk.View) []string { return []string{v.ID, v.Name, v.Page, v.Query} },
	frame.Text("id", "as whoever saved it chose", func(v *desk.View) string { return v.ID }),
	frame.Text("name", "name", func(v *desk.View) string { return v.Name }).Ordered(),
	frame.Text("page", "page of the console", func(v *desk.View) string { return v.Page }),
	frame.Time("updated", "when it was saved last", func(v *desk.View) time.Time { return v.Updated }).Ordered(),
)

func words[T ~string](list ...T) []string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}
