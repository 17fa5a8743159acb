package filter

import "github.com/muster-id/muster/internal/nhi"

// This file says what each list that the store narrows can be narrowed and
// ordered by. Those that are narrowed in memory are in api/list, each field
// with how it is read from a row.

var (
	classes    = []string{string(nhi.Production), string(nhi.Nonproduction), string(nhi.ClassUnknown)}
	states     = []string{string(nhi.Active), string(nhi.Dormant), string(nhi.Quarantined), string(nhi.Deprecated), string(nhi.Retired)}
	credential = []string{string(nhi.CredentialActive), string(nhi.CredentialNarrowed), string(nhi.CredentialSuspended), string(nhi.CredentialRevoked)}
	severities = []string{string(nhi.Info), string(nhi.Low), string(nhi.Medium), string(nhi.High), string(nhi.Critical)}
	approvals  = []string{string(nhi.ApprovalPending), string(nhi.ApprovalApproved), string(nhi.ApprovalDenied), string(nhi.ApprovalUsed), string(nhi.ApprovalCancelled), string(nhi.ApprovalExpired)}
	statuses   = []string{string(nhi.Open), string(nhi.Acknowledged), string(nhi.Resolved), string(nhi.Dismissed)}
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

// Approvals is the language of the list of approvals.
var Approvals = &Language{
	List: "approvals", Order: "-at",
	Bare: "the id, the resource, or the name of the identity",
	Fields: []Field{
		{Name: "id", Kind: Text, Doc: "id of the approval"},
		{Name: "state", Kind: Enum, Words: approvals, Doc: "where it stands"},
		{Name: "identity", Kind: Text, Doc: "id of the identity that asks"},
		{Name: "point", Kind: Text, Doc: "id of the enforcement point where it asks"},
		{Name: "action", Kind: Text, Doc: "class of the action, such as delete"},
		{Name: "resource", Kind: Text, Doc: "name of the resource"},
		{Name: "sensitivity", Kind: Number, Doc: "of the resource, 0 to 4"},
		{Name: "environment", Kind: Text, Doc: "environment of the identity"},
		{Name: "owner", Kind: Text, Doc: "owner of the identity"},
		{Name: "at", Kind: Time, Doc: "when it was asked for", Order: true},
		{Name: "expires", Kind: Time, Doc: "until when it waits, or can be used"},
	},
}

// Languages are those above.
var Languages = []*Language{Identities, Credentials, Findings, Approvals}
