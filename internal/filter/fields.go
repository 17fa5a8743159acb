package filter

import "github.com/muster-id/muster/internal/nhi"

// This file says what each list can be narrowed and ordered by. It is the
// source of docs/reference/filter.md, which a test compares.

var (
	classes    = []string{string(nhi.Production), string(nhi.Nonproduction), string(nhi.ClassUnknown)}
	states     = []string{string(nhi.Active), string(nhi.Dormant), string(nhi.Quarantined), string(nhi.Deprecated), string(nhi.Retired)}
	credential = []string{string(nhi.CredentialActive), string(nhi.CredentialNarrowed), string(nhi.CredentialSuspended), string(nhi.CredentialRevoked)}
	severities = []string{string(nhi.Info), string(nhi.Low), string(nhi.Medium), string(nhi.High), string(nhi.Critical)}
	statuses   = []string{string(nhi.Open), string(nhi.Acknowledged), string(nhi.Resolved), string(nhi.Dismissed)}
	measures   = []string{string(nhi.MeasureNarrow), string(nhi.MeasureSuspend), string(nhi.MeasureQuarantine), string(nhi.MeasureRevoke)}
	acts       = []string{string(nhi.ActionDone), string(nhi.ActionUndone), string(nhi.ActionProposed), string(nhi.ActionRefused)}
	outcomes   = []string{string(nhi.Allow), string(nhi.Deny), string(nhi.StepUp)}
)

// Identities is the language of the list of identities.
var Identities = &Language{
	List: "identities", Order: "name",
	Bare: "the beginnings of the words of name, owner, native id, account and path",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id in Muster"},
		{Name: "name", Kind: Text, Doc: "name", Order: true},
		{Name: "kind", Kind: Text, Doc: "kind, such as iam-user, iam-role, service-account, workload, ci-job, agent"},
		{Name: "provider", Kind: Text, Doc: "where it lives, such as aws or muster"},
		{Name: "account", Kind: Text, Doc: "account, tenant or issuer at the provider"},
		{Name: "native", Kind: Text, Doc: "the provider's immutable id"},
		{Name: "path", Kind: Text, Doc: "ARN, SPIFFE id or subject"},
		{Name: "environment", Kind: Text, Doc: "environment"},
		{Name: "class", Kind: Enum, Words: classes, Doc: "class of the environment"},
		{Name: "owner", Kind: Text, Doc: "who answers for it: an e-mail address or team:x"},
		{Name: "state", Kind: Enum, Words: states, Doc: "where it stands in its life"},
		{Name: "risk", Kind: Number, Doc: "0 to 100", Order: true},
		{Name: "last_used", Kind: Time, Doc: "last activity seen", Order: true},
		{Name: "created", Kind: Time, Doc: "when the provider made it", Order: true},
		{Name: "shadow", Kind: Flag, Doc: "seen acting, in no inventory"},
		{Name: "static", Kind: Flag, Doc: "holds a working credential that never expires"},
		{Name: "admin", Kind: Flag, Doc: "holds a grant of every action on every resource"},
		{Name: "attestable", Kind: Flag, Doc: "can prove itself by platform evidence"},
	},
}

// Credentials is the language of the list of credentials.
var Credentials = &Language{
	List: "credentials", Order: "id",
	Bare: "the public id, or the words of the identity that holds it",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id in Muster", Order: true},
		{Name: "identity", Kind: Text, Doc: "id of the identity that holds it"},
		{Name: "kind", Kind: Text, Doc: "kind, such as api-key, registered-key or aws-access-key"},
		{Name: "provider", Kind: Text, Doc: "where it is used"},
		{Name: "account", Kind: Text, Doc: "account at the provider"},
		{Name: "public_id", Kind: Text, Doc: "the part that is no secret"},
		{Name: "state", Kind: Enum, Words: credential, Doc: "what it may still do"},
		{Name: "consumer", Kind: Text, Doc: "id of the identity that it is pinned to"},
		{Name: "environment", Kind: Text, Doc: "environment of the identity"},
		{Name: "owner", Kind: Text, Doc: "owner of the identity"},
		{Name: "risk", Kind: Number, Doc: "0 to 100"},
		{Name: "static", Kind: Flag, Doc: "never expires"},
		{Name: "known", Kind: Flag, Doc: "its value can be recognised when it leaks"},
		{Name: "created", Kind: Time, Doc: "when it was made", Order: true},
		{Name: "expires", Kind: Time, Doc: "when it stops working; absent when never", Order: true},
		{Name: "last_used", Kind: Time, Doc: "last use seen", Order: true},
	},
}

// Findings is the language of the list of findings.
var Findings = &Language{
	List: "findings", Order: "-severity",
	Bare: "the rule, the id, or the words of the identity",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id of the finding"},
		{Name: "rule", Kind: Text, Doc: "rule, such as LEAK-01 or DET-02"},
		{Name: "severity", Kind: Enum, Words: severities, Doc: "how bad", Order: true},
		{Name: "status", Kind: Enum, Words: statuses, Doc: "what people did about it"},
		{Name: "identity", Kind: Text, Doc: "id of the identity"},
		{Name: "credential", Kind: Text, Doc: "id of the credential"},
		{Name: "kind", Kind: Text, Doc: "kind of the identity"},
		{Name: "environment", Kind: Text, Doc: "environment of the identity"},
		{Name: "owner", Kind: Text, Doc: "owner of the identity"},
		{Name: "at", Kind: Time, Doc: "when Muster knew", Order: true},
	},
}

// Decisions is the language of the list of decisions and of their stream.
var Decisions = &Language{
	List: "decisions", Order: "-at",
	Bare: "part of resource, operation, network, identity, key id or reason",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id of the decision"},
		{Name: "outcome", Kind: Enum, Words: outcomes, Doc: "what was answered"},
		{Name: "would_refuse", Kind: Flag, Doc: "let pass by a point that only observes"},
		{Name: "identity", Kind: Text, Doc: "id of who asked"},
		{Name: "credential", Kind: Text, Doc: "id of the credential"},
		{Name: "key_id", Kind: Text, Doc: "public id of the key, or id of the token"},
		{Name: "method", Kind: Text, Doc: "how the caller proved itself"},
		{Name: "assurance", Kind: Number, Doc: "0 static secret to 3 bound and attested"},
		{Name: "point", Kind: Text, Doc: "id of the enforcement point"},
		{Name: "resource", Kind: Text, Doc: "what was asked for"},
		{Name: "sensitivity", Kind: Number, Doc: "of the resource, 0 to 4"},
		{Name: "action", Kind: Text, Doc: "class of the action"},
		{Name: "operation", Kind: Text, Doc: "the caller's own word for it"},
		{Name: "country", Kind: Text, Doc: "two letters"},
		{Name: "asn", Kind: Number, Doc: "number of the network"},
		{Name: "network", Kind: Text, Doc: "who runs the network"},
		{Name: "address", Kind: Text, Doc: "address of the caller"},
		{Name: "agent", Kind: Text, Doc: "family of the program that asked"},
		{Name: "policy", Kind: Text, Doc: "the policy that determined it first"},
		{Name: "risk", Kind: Number, Doc: "of the caller, 0 to 100"},
		{Name: "surprise", Kind: Number, Doc: "bits, whole ones"},
		{Name: "at", Kind: Time, Doc: "when", Order: true},
	},
}

// Actions is the language of the list of actions.
var Actions = &Language{
	List: "actions", Order: "-at",
	Bare: "part of reason, actor, identity or credential",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id of the action"},
		{Name: "measure", Kind: Enum, Words: measures, Doc: "what was done"},
		{Name: "status", Kind: Enum, Words: acts, Doc: "how far it got"},
		{Name: "identity", Kind: Text, Doc: "id of the identity"},
		{Name: "credential", Kind: Text, Doc: "id of the credential"},
		{Name: "finding", Kind: Text, Doc: "id of the finding that caused it"},
		{Name: "actor", Kind: Text, Doc: "who caused it: a rule or a person"},
		{Name: "at", Kind: Time, Doc: "when", Order: true},
	},
}

// Audit is the language of the audit log.
var Audit = &Language{
	List: "audit entries", Order: "-at",
	Bare: "part of actor, act, target or reason",
	Fields: []Field{
		{Name: "actor", Kind: Text, Doc: "who did it, such as operator:mara"},
		{Name: "act", Kind: Text, Doc: "what was done, such as credential.create"},
		{Name: "target", Kind: Text, Doc: "id of what it was done to"},
		{Name: "outcome", Kind: Text, Doc: "done, refused or error"},
		{Name: "at", Kind: Time, Doc: "when", Order: true},
	},
}

// Refusals is the language of the list of those who were not let in.
var Refusals = &Language{
	List: "refusals", Order: "-at",
	Bare: "part of identity, claimed, operation, resource or reason",
	Fields: []Field{
		{Name: "kind", Kind: Enum, Words: []string{"failed_authentication", "unknown_principal", "denied", "step_up"}, Doc: "why somebody was not let in"},
		{Name: "identity", Kind: Text, Doc: "id of the proven identity"},
		{Name: "claimed", Kind: Text, Doc: "who the caller says to be"},
		{Name: "point", Kind: Text, Doc: "id of the point; empty for the management interface"},
		{Name: "address", Kind: Text, Doc: "of the caller"},
		{Name: "operation", Kind: Text, Doc: "what was asked for, such as GET /payments/{id}"},
		{Name: "resource", Kind: Text, Doc: "name of the resource"},
		{Name: "reason", Kind: Text, Doc: "the policy that refused"},
		{Name: "count", Kind: Number, Doc: "more than 1: a flood, counted instead of listed"},
		{Name: "at", Kind: Time, Doc: "when", Order: true},
	},
}

// Languages are all of them.
var Languages = []*Language{Identities, Credentials, Findings, Decisions, Actions, Audit, Refusals}
