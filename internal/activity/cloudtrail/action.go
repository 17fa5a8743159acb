package cloudtrail

import (
	"strings"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/jsonscan"
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
	"iam.amazonaws.com": true, "organizations.amazonaws.com": true, "sso.amazonaws.com": true,
	"sso-directory.amazonaws.com": true, "identitystore.amazonaws.com": true, "ram.amazonaws.com": true,
	"rolesanywhere.amazonaws.com": true, "account.amazonaws.com": true, "access-analyzer.amazonaws.com": true,
}

// Class says what an operation does. readOnly is the record's own flag; it
// decides only where the name tells nothing, because it is also set on calls
// that mint credentials.
func Class(service, op string, readOnly bool) nhi.ActionClass {
	if c, ok := special[op]; ok {
		return c
	}
	c, known := verbs[firstWord(op)]
	if c == nhi.Read && strings.HasPrefix(op, "Batch") {
		c = batch(op[len("Batch"):])
	}
	switch {
	case c == nhi.Read || c == nhi.List || c == nhi.Assume:
		return c
	case adminServices[service] || permission(op):
		return nhi.Admin
	case known:
		return c
	case readOnly:
		return nhi.Read
	}
	return nhi.Write
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

// parameters that name the resource of a call, best first.
var parameters = []string{
	"roleArn", "bucketName", "roleName", "userName", "groupName", "policyArn", "policyName", "secretId", "keyId",
	"functionName", "tableName", "queueUrl", "topicArn", "instanceId", "clusterName", "cluster", "repositoryName",
	"dBInstanceIdentifier", "trailName", "detectorId", "stackName", "logGroupName", "snapshotId", "imageId", "groupId",
	"vpcId", "resourceArn", "arn", "name",
}

// rank is the place of each name in parameters.
var rank = func() map[string]int {
	m := make(map[string]int, len(parameters))
	for i, name := range parameters {
		m[name] = i
	}
	return m
}()

// A parameter is the request parameter that names the resource best.
type parameter struct {
	value span
	rank  int
	found bool
}

// read looks at the parameters on the first level. No other is taken, so no
// secret that a caller sends comes in.
func (p *parameter) read(s *jsonscan.Scanner) {
	if s.Kind() != jsonscan.Object {
		s.Skip()
		return
	}
	s.Object()
	for s.Next() {
		at, ok := rank[string(s.Key())]
		if !ok || (p.found && at >= p.rank) {
			s.Skip()
			continue
		}
		if v, isText := s.Text(); isText && len(v.Raw) > 0 {
			*p = parameter{value: v, rank: at, found: true}
		}
	}
}

// resource names what was acted on: the ARN that the record gives, else what
// the request names.
func (r *reader) resource() string {
	rec, t := &r.rec, r.text
	if len(rec.resource.Raw) > 0 {
		return t.Free(rec.resource, activity.Path)
	}
	if !rec.param.found {
		return ""
	}
	name := t.Free(rec.param.value, activity.Path)
	if parameters[rec.param.rank] == "bucketName" && name != "" {
		return "arn:aws:s3:::" + name
	}
	return name
}
