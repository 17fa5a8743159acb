// Package awsops says what operations of AWS do, by their names: s3:GetObject
// reads, iam:CreateAccessKey administers. Logs name what was done with it, and
// enforcement points what is asked for, so that both mean the same by a class.
//
// The names of AWS begin with a verb; most tell the class, the few that mislead
// are listed. What only watches, or hands out keys, is administration whatever
// its verb is.
package awsops

import (
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// verbs maps the first word of an operation to what it does. AWS names its
// operations by verb; the few that mislead are in special.
var verbs = map[string]nhi.ActionClass{
	"Get": nhi.Read, "Head": nhi.Read, "Batch": nhi.Read, "Query": nhi.Read, "Scan": nhi.Read, "Select": nhi.Read,
	"Receive": nhi.Read, "Download": nhi.Read, "Decrypt": nhi.Read, "View": nhi.Read, "Check": nhi.Read,
	"Simulate": nhi.Read, "Validate": nhi.Read, "Verify": nhi.Read, "Preview": nhi.Read, "Estimate": nhi.Read,
	"Detect": nhi.Read, "Read": nhi.Read, "Retrieve": nhi.Read, "Preflight": nhi.Read, "Filter": nhi.Read,
	"List": nhi.List, "Describe": nhi.List, "Search": nhi.List, "Lookup": nhi.List, "Discover": nhi.List,
	"Find": nhi.List, "Browse": nhi.List,
	"Delete": nhi.Delete, "Terminate": nhi.Delete, "Purge": nhi.Delete, "Destroy": nhi.Delete, "Remove": nhi.Delete,
	"Deregister": nhi.Delete,
	"Assume":     nhi.Assume,
}

// changes are the verbs that change something for sure. A log may still say of
// such a call that it only read: StartQuery does.
var changes = map[string]bool{
	"Put": true, "Create": true, "Update": true, "Modify": true, "Run": true, "Set": true, "Add": true, "Write": true,
	"Attach": true, "Detach": true, "Associate": true, "Disassociate": true, "Tag": true, "Untag": true, "Register": true,
	"Copy": true, "Import": true, "Restore": true, "Replace": true, "Reset": true, "Upload": true, "Send": true, "Publish": true,
	"Enable": true, "Disable": true, "Reboot": true, "Stop": true, "Cancel": true, "Abort": true,
}

// special maps operations whose verb misleads. Turning off what watches and
// taking over keys or organisations is administration.
var special = map[string]nhi.ActionClass{
	"GetSessionToken": nhi.Assume, "GetFederationToken": nhi.Assume, "GetSigninToken": nhi.Assume,
	"ConsoleLogin": nhi.Assume, "SwitchRole": nhi.Assume, "GetRoleCredentials": nhi.Assume,
	"GetCredentialsForIdentity": nhi.Assume, "CreateToken": nhi.Assume, "StartSession": nhi.Assume,
	"BatchWriteItem": nhi.Write, "BatchDeleteImage": nhi.Delete, "ScheduleKeyDeletion": nhi.Delete,
	"GenerateCredentialReport": nhi.Read, "GenerateServiceLastAccessedDetails": nhi.Read, "ExitRole": nhi.Assume,
	"StopLogging": nhi.Admin, "StartLogging": nhi.Admin, "DeleteTrail": nhi.Admin, "UpdateTrail": nhi.Admin,
	"PutEventSelectors": nhi.Admin, "PutInsightSelectors": nhi.Admin, "DeleteEventDataStore": nhi.Admin,
	"StopConfigurationRecorder": nhi.Admin, "DeleteConfigurationRecorder": nhi.Admin, "DeleteDeliveryChannel": nhi.Admin,
	"DeleteDetector": nhi.Admin, "UpdateDetector": nhi.Admin, "DisassociateFromMasterAccount": nhi.Admin,
	"DisableSecurityHub": nhi.Admin, "DeleteFlowLogs": nhi.Admin, "DeleteLogGroup": nhi.Admin,
	"CreateGrant": nhi.Admin, "DisableKey": nhi.Admin, "DisableKeyRotation": nhi.Admin, "LeaveOrganization": nhi.Admin,
	"ModifySnapshotAttribute": nhi.Admin, "ModifyImageAttribute": nhi.Admin, "ModifyDBSnapshotAttribute": nhi.Admin,
	"PutBucketAcl": nhi.Admin, "PutObjectAcl": nhi.Admin, "PutPublicAccessBlock": nhi.Admin,
	"PutBucketPublicAccessBlock": nhi.Admin, "DeletePublicAccessBlock": nhi.Admin, "DeleteBucketPublicAccessBlock": nhi.Admin,
	"DeleteAccountPublicAccessBlock": nhi.Admin, "PutAccountPublicAccessBlock": nhi.Admin,
	"AuthorizeSecurityGroupIngress": nhi.Admin, "AuthorizeSecurityGroupEgress": nhi.Admin,
	"CreateAccessKey": nhi.Admin, "CreateLoginProfile": nhi.Admin, "UpdateLoginProfile": nhi.Admin,
}

// adminServices are those in which every change is a change of who may do
// what.
var adminServices = map[string]bool{
	"iam": true, "organizations": true, "sso": true,
	"sso-directory": true, "identitystore": true, "ram": true,
	"rolesanywhere": true, "account": true, "access-analyzer": true,
}

// Class says what an operation does. service is the short name that both IAM's
// actions and the event sources of CloudTrail have: s3, iam. readOnly is what a
// log says of the call; it decides only where the name tells nothing, because
// logs set it on calls that mint credentials too. known is false when the name
// told nothing, and the class is a guess on the safe side.
func Class(service, op string, readOnly bool) (class nhi.ActionClass, known bool) {
	if c, ok := special[op]; ok {
		return c, true
	}
	c, known := verbs[firstWord(op)]
	if c == nhi.Read && strings.HasPrefix(op, "Batch") {
		c = batch(op[len("Batch"):])
	}
	switch {
	case c == nhi.Read || c == nhi.List || c == nhi.Assume:
		return c, true
	case adminServices[service] || permission(op):
		return nhi.Admin, true
	case known:
		return c, true
	case readOnly:
		return nhi.Read, false
	}
	return nhi.Write, changes[firstWord(op)]
}

// Split takes an action as IAM writes it, service:Operation ("Actions, resources,
// and condition keys for AWS services"), apart. It is not ok for anything else,
// patterns included.
func Split(action string) (service, op string, ok bool) {
	service, op, ok = strings.Cut(action, ":")
	if !ok || service == "" || op == "" || op[0] < 'A' || op[0] > 'Z' {
		return "", "", false
	}
	for _, c := range []byte(service) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "", "", false
		}
	}
	for _, c := range []byte(op) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return "", "", false
		}
	}
	return service, op, true
}

// batch classes the operation behind a Batch prefix.
func batch(rest string) nhi.ActionClass {
	if c, ok := verbs[firstWord(rest)]; ok && rest != "" {
		return c
	}
	return nhi.Write
}

// permission reports whether a changing operation changes who may do what:
// it is about policies or permissions (PutBucketPolicy, AttachRolePolicy,
// AddPermission).
func permission(op string) bool {
	if strings.HasSuffix(op, "Permission") || strings.HasSuffix(op, "Permissions") {
		return true
	}
	if !strings.Contains(op, "Policy") {
		return false
	}
	// Policies of life cycle, scaling and retry have nothing to do with access.
	for _, other := range []string{"Lifecycle", "Scaling", "Retention", "Backup", "LoadBalancer", "Delivery", "Cache", "Reuse"} {
		if strings.Contains(op, other) {
			return false
		}
	}
	return true
}

// firstWord returns op up to its second capital letter.
func firstWord(op string) string {
	for i := 1; i < len(op); i++ {
		if op[i] >= 'A' && op[i] <= 'Z' {
			return op[:i]
		}
	}
	return op
}
