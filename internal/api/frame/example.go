package frame

import "github.com/muster-id/muster/client"

// examples are requests as somebody might send them, by the id of the
// operation. What takes text and not JSON has a string.
var examples = map[string]any{
	"approve-action":        client.ActOn{Reason: "seen with the team"},
	"approve":               client.Answer{Comment: "spoke with the team on call"},
	"deny":                  client.Answer{Comment: "nobody here started this"},
	"undo-action":           client.ActOn{Reason: "it was a drill"},
	"pin-credential":        client.PinCredential{Consumer: "nhi_mzxw6ytboi2dgnbvgy3tqobzge"},
	"set-finding":           client.SetFinding{Status: "acknowledged", Reason: "asked the team"},
	"evaluate-fingerprints": client.EvaluateFingerprints{Blinded: [][]byte{{0x02, 0x8f, 0x1c}}},
	"create-identity":       client.CreateIdentity{Name: "settler", Kind: "service-account", Environment: "production", Owner: "team:payments"},
	"create-credential":     client.CreateCredential{ExpiresIn: 86400},
	"register-credential":   client.RegisterCredential{Kind: "registered-key", Value: "the key as its issuer gave it"},
	"set-owner":             client.SetOwner{Owner: "mara@example.com"},
	"set-person":            client.SetPerson{Roles: &[]client.Role{{Role: "analyst", Team: "payments"}}},
	"enroll-point":          client.EnrollPoint{Name: "edge", Dialect: "nginx", Sources: []string{"192.0.2.0/28"}},
	"set-point":             client.SetPoint{Mode: new("enforce"), Percent: new(10)},
	"probe-point":           client.ProbePoint{Host: "payments.internal:8443", Target: "/payments/1"},
	"search":                client.Search{Text: "arn:aws:iam::210987654321:user/ci"},
	"report-sighting":       client.ReportSighting{Rule: "aws-access-key-id", Provider: "aws", PublicID: "AKIA...", Place: client.Place{Kind: "file", Name: "deploy.sh", Line: 12}},
	"add-source":            client.AddSource{Name: "trail", Format: "cloudtrail", Accounts: []string{"210987654321"}},
	"create-token":          client.CreateToken{Name: "nightly report", Owner: "team:platform", ExpiresIn: 2592000, Rights: []string{"read"}},
	"put-view":              client.PutView{Name: "nobody answers", Page: "identities", Query: "filter=-owner:*"},
	"start-shadow":          client.StartShadow{Files: map[string]string{"policies.cedar": "@id(\"no-writes\") forbid (principal, action == Action::\"write\", resource);\n"}},
	"step-promotion":        client.ActOn{Reason: "seen with the team"},
	"acknowledge-promotion": client.Acknowledge{Policy: "no-exports", Reason: "the contract ended"},
	"withdraw-snapshot":     client.ActOn{Reason: "pushed too early"},
	"learn-policies":        client.LearnRequest{Owner: "team:payments"},
	"simulate-policies":     client.SimulateRequest{Files: map[string]string{"policies.cedar": "@id(\"no-writes\") forbid (principal, action == Action::\"write\", resource);\n"}},
	"make-backup":           client.BackupRequest{Recipients: []string{"age1..."}},
	"apply-document":        "- {id: payments/api, environment: production, sensitivity: 3}\n",
	"put-snapshot": client.PutSnapshot{Note: "reports only read", Files: []client.LibraryFile{{
		Name: "policies/reports.cedar", Text: "@id(\"reports-only-read\") forbid (principal, action, resource == Resource::\"reports/api\") unless { action == Action::\"read\" };\n",
	}}},
	"activate-snapshot": client.ActOn{Reason: "the new ones stopped the till"},
	"receive-text":      "the log said: token=...",
	"receive-logs":      `{"Records":[{"eventVersion":"1.09","eventName":"GetObject"}]}`,
	"import-aws":        map[string]string{"authorization-details": "output of aws iam get-account-authorization-details"},
	"preview-aws":       map[string]string{"authorization-details": "output of aws iam get-account-authorization-details"},
}
