# Muster's built-in guards in Rego, with the numbers of the default settings.
package muster

permit contains "base-permit"

deny contains "unknown-subject" if not input.principal.known

deny contains "identity-quarantined" if input.principal.state == "quarantined"

deny contains "identity-inactive" if not input.principal.state in {"active", "dormant", "deprecated", "quarantined"}

deny contains "unowned-issue" if {
	input.action == "issue"
	not input.principal.owned
}

deny contains "unowned-admin" if {
	input.action == "admin"
	not input.principal.owned
}

deny contains "unowned-sensitive" if {
	input.resource.sensitivity >= 3
	not input.principal.owned
}

deny contains "risk-too-high" if input.principal.risk > 80

deny contains "environment-crossing" if {
	input.principal.class == "production"
	input.resource.class == "nonproduction"
}

deny contains "environment-crossing" if {
	input.principal.class == "nonproduction"
	input.resource.class == "production"
}

deny contains "credential-suspended" if input.context.credential.state == "suspended"

deny contains "credential-revoked" if input.context.credential.revoked

deny contains "credential-revoked" if input.context.credential.state == "revoked"

deny contains "credential-expired" if input.context.credential.expired

deny contains "credential-unknown-state" if {
	input.context.credential.known
	not input.context.credential.state in {"active", "narrowed", "suspended", "revoked"}
}

stepup contains "consumer-missing" if {
	input.context.credential.pinned
	not input.context.credential.consumerProven
}

stepup contains "consumer-missing" if {
	input.context.credential.state == "narrowed"
	not input.context.credential.consumerProven
}

stepup contains "assurance-too-low" if {
	input.context.assurance <= 0
	input.resource.sensitivity >= 3
}

stepup contains "new-network" if {
	input.context.newNetwork
	not input.context.senderBound
}

stepup contains "new-country" if {
	input.context.newCountry
	not input.context.senderBound
}

stepup contains "new-action" if {
	input.context.newAction
	input.context.assurance <= 0
	input.context.credential.known
	not input.context.senderBound
}

stepup contains "surprising" if {
	input.context.surprise >= 130
	not input.context.senderBound
}

default outcome := "deny"

outcome := "allow" if {
	count(permit) > 0
	count(deny) == 0
	count(stepup) == 0
}

outcome := "step-up" if {
	count(permit) > 0
	count(deny) == 0
	count(stepup) > 0
}

ruling := {"outcome": outcome, "permit": permit, "deny": deny, "stepup": stepup}
