package cloudtrail

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// one decodes one record, which must be good.
func one(t *testing.T, record string, o activity.Options) nhi.Event {
	t.Helper()
	var got []nhi.Event
	stats, err := Format.Decode(t.Context(), strings.NewReader(record), o,
		func(ev nhi.Event) error { got = append(got, ev); return nil },
		func(u activity.Unparsable) error { t.Errorf("unparsable: %s", u.Reason); return nil })
	if err != nil || stats.Events != 1 {
		t.Fatalf("%d events, error %v", stats.Events, err)
	}
	return got[0]
}

var equalAddr = cmpopts.EquateComparable(netip.Addr{})

func TestARoleSessionIsAttributedToItsRole(t *testing.T) {
	got := one(t, `{
		"eventVersion": "1.08", "eventID": "e-1", "eventTime": "2026-03-01T10:20:30Z", "eventSource": "s3.amazonaws.com",
		"eventName": "GetObject", "awsRegion": "eu-central-1", "sourceIPAddress": "198.51.100.7", "userAgent": "[aws-sdk-go-v2/1.30.0 os/linux]",
		"readOnly": true, "recipientAccountId": "111122223333", "eventType": "AwsApiCall",
		"resources": [{"type": "AWS::S3::Object"}, {"ARN": "arn:aws:s3:::invoices", "accountId": "111122223333"}],
		"userIdentity": {"type": "AssumedRole", "principalId": "AROAEXAMPLEROLE00001:job-7", "arn": "arn:aws:sts::111122223333:assumed-role/billing/job-7",
			"accountId": "111122223333", "accessKeyId": "ASIAEXAMPLEKEY000001",
			"sessionContext": {"sourceIdentity": "alice", "sessionIssuer": {"type": "Role", "principalId": "AROAEXAMPLEROLE00001",
				"arn": "arn:aws:iam::111122223333:role/app/billing", "accountId": "111122223333", "userName": "billing"},
				"webIdFederationData": {"federatedProvider": "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC",
					"attributes": {"oidc.eks.eu-central-1.amazonaws.com/id/ABC:aud": "sts.amazonaws.com", "oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub": "system:serviceaccount:pay:billing"}}}}}`,
		activity.Options{Source: "nhi_source"})
	want := nhi.Event{
		ID: "e-1", Source: "nhi_source", Format: "cloudtrail", Time: time.Date(2026, 3, 1, 10, 20, 30, 0, time.UTC),
		Provider: "aws", Account: "111122223333", Region: "eu-central-1", Service: "s3.amazonaws.com", Operation: "GetObject",
		Class: nhi.Read, Resource: "arn:aws:s3:::invoices", Address: netip.MustParseAddr("198.51.100.7"),
		Agent: "aws-sdk-go-v2/1.30.0 os/linux", Status: nhi.Success,
		Principal: nhi.Principal{
			Type: "AssumedRole", Native: "AROAEXAMPLEROLE00001", Path: "arn:aws:iam::111122223333:role/app/billing", Name: "billing",
			Account: "111122223333", KeyID: "ASIAEXAMPLEKEY000001", Temporary: true, Session: "job-7",
			Issuer: "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC", Subject: "system:serviceaccount:pay:billing",
			Chain: []string{"alice", "system:serviceaccount:pay:billing"},
		},
	}
	if d := cmp.Diff(want, got, equalAddr); d != "" {
		t.Error(d)
	}
}

func TestPrincipals(t *testing.T) {
	for _, tt := range []struct {
		name, identity string
		want           nhi.Principal
	}{
		{"a user with a key", `{"type":"IAMUser","principalId":"AIDAX","arn":"arn:aws:iam::1:user/ci","accountId":"1","accessKeyId":"AKIAX","userName":"ci"}`,
			nhi.Principal{Type: "IAMUser", Native: "AIDAX", Path: "arn:aws:iam::1:user/ci", Name: "ci", Account: "1", KeyID: "AKIAX"}},
		{"a role without an issuer", `{"type":"AssumedRole","principalId":"AROAX:s","arn":"arn:aws:sts::1:assumed-role/r/s","accountId":"1"}`,
			nhi.Principal{Type: "AssumedRole", Native: "AROAX", Path: "arn:aws:iam::1:role/r", Name: "r", Account: "1", Session: "s"}},
		{"a web identity", `{"type":"WebIdentityUser","principalId":"arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com:sts.amazonaws.com:repo:a/b","userName":"repo:a/b","identityProvider":"arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"}`,
			nhi.Principal{Type: "WebIdentityUser", Name: "repo:a/b", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:a/b"}},
		{"a SAML user", `{"type":"SAMLUser","principalId":"ABC:bob","userName":"bob","identityProvider":"urn:idp"}`,
			nhi.Principal{Type: "SAMLUser", Native: "ABC:bob", Name: "bob", Issuer: "urn:idp", Subject: "bob"}},
		{"a federated user", `{"type":"FederatedUser","principalId":"1:bob","arn":"arn:aws:sts::1:federated-user/bob","accountId":"1","accessKeyId":"ASIAX","sessionContext":{"sessionIssuer":{"type":"IAMUser","principalId":"AIDAX","arn":"arn:aws:iam::1:user/broker","accountId":"1","userName":"broker"}}}`,
			nhi.Principal{Type: "FederatedUser", Native: "AIDAX", Path: "arn:aws:iam::1:user/broker", Name: "broker", Account: "1", KeyID: "ASIAX", Temporary: true, Session: "bob"}},
		{"root", `{"type":"Root","principalId":"1","arn":"arn:aws:iam::1:root","accountId":"1"}`,
			nhi.Principal{Type: "Root", Native: "1", Path: "arn:aws:iam::1:root", Name: "root", Account: "1"}},
		{"a service", `{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`,
			nhi.Principal{Type: "AWSService", Native: "ec2.amazonaws.com", Name: "ec2.amazonaws.com", Account: "amazonaws.com", Platform: true}},
		{"another account", `{"type":"AWSAccount","principalId":"AROAX:s","accountId":"2"}`,
			nhi.Principal{Type: "AWSAccount", Native: "AROAX", Account: "2", Session: "s"}},
		{"a person of Identity Center", `{"type":"IdentityCenterUser","accountId":"1","onBehalfOf":{"userId":"u-1","identityStoreArn":"arn:aws:identitystore::1:identitystore/d-1"},"credentialId":"c-1"}`,
			nhi.Principal{Type: "IdentityCenterUser", Native: "u-1", Account: "d-1", Session: "c-1"}},
		{"a directory", `{"type":"Directory","principalId":"D-1","accountId":"1","userName":"x"}`,
			nhi.Principal{Type: "Directory", Native: "D-1", Account: "1", Name: "x"}},
		{"a service-linked role", `{"type":"AssumedRole","principalId":"AROAX:s","accountId":"1","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX","userName":"AWSServiceRoleForX"}}}`,
			nhi.Principal{Type: "AssumedRole", Native: "AROAX", Path: "arn:aws:iam::1:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX", Name: "AWSServiceRoleForX", Account: "1", Session: "s", Platform: true}},
		{"a call forwarded by a service", `{"type":"IAMUser","principalId":"AIDAX","accountId":"1","invokedBy":"cloudformation.amazonaws.com"}`,
			nhi.Principal{Type: "IAMUser", Native: "AIDAX", Account: "1", Chain: []string{"cloudformation.amazonaws.com"}, Platform: true}},
		{"nothing known", `{}`, nhi.Principal{Type: "Unknown"}},
		{"everything odd", `{"type":5,"principalId":[],"arn":{"a":1},"accountId":111122223333,"accessKeyId":true,"sessionContext":"x","userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}`,
			nhi.Principal{Type: "Unknown", Account: "111122223333", Name: "HIDDEN_DUE_TO_SECURITY_REASONS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := one(t, `{"eventName":"GetObject","eventSource":"s3.amazonaws.com","userIdentity":`+tt.identity+`}`, activity.Options{})
			if d := cmp.Diff(tt.want, got.Principal); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAFieldThatIsOddNeverDropsTheEvent(t *testing.T) {
	arrived := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, fields string
		check        func(ev nhi.Event) bool
	}{
		{"an address that is a service", `"sourceIPAddress":"ec2.amazonaws.com"`, func(ev nhi.Event) bool { return !ev.Address.IsValid() }},
		{"an address that is a remark", `"sourceIPAddress":"AWS Internal"`, func(ev nhi.Event) bool { return !ev.Address.IsValid() }},
		{"no time", `"x":1`, func(ev nhi.Event) bool { return ev.Time.Equal(arrived) }},
		{"a time that is none", `"eventTime":"yesterday"`, func(ev nhi.Event) bool { return ev.Time.Equal(arrived) }},
		{"a time in the year 9", `"eventTime":"0009-01-01T00:00:00Z"`, func(ev nhi.Event) bool { return ev.Time.Equal(arrived) }},
		{"a time with 61 seconds", `"eventTime":"2026-01-01T00:00:61Z"`, func(ev nhi.Event) bool { return ev.Time.Equal(arrived) }},
		{"a time of a database", `"eventtime":"2022-07-17 04:50:23"`, func(ev nhi.Event) bool { return ev.Time.Format(time.RFC3339) == "2022-07-17T04:50:23Z" }},
		{"a time in milliseconds", `"eventTime":1658033423000`, func(ev nhi.Event) bool { return ev.Time.Format(time.RFC3339) == "2022-07-17T04:50:23Z" }},
		{"no id", `"x":1`, func(ev nhi.Event) bool { return strings.HasPrefix(ev.ID, "raw_") }},
		{"a null everywhere", `"awsRegion":null,"userAgent":null,"requestParameters":null,"responseElements":null,"resources":null,"userIdentity":null`, func(ev nhi.Event) bool { return ev.Principal.Type == "Unknown" }},
		{"a list where an object belongs", `"requestParameters":[1],"responseElements":[{"credentials":1}],"resources":{"ARN":"x"}`, func(ev nhi.Event) bool { return ev.Resource == "" }},
		{"text for a flag", `"readOnly":"true"`, func(ev nhi.Event) bool { return ev.Status == nhi.Success }},
		{"an account that is a number", `"recipientAccountId":111122223333`, func(ev nhi.Event) bool { return ev.Account == "111122223333" }},
		{"an error", `"errorCode":"AccessDenied"`, func(ev nhi.Event) bool { return ev.Status == nhi.Failure && ev.Error == "AccessDenied" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev := one(t, `{"eventName":"RunInstances","eventSource":"ec2.amazonaws.com",`+tt.fields+`}`, activity.Options{Arrived: arrived})
			if !tt.check(ev) {
				t.Errorf("got %+v", ev)
			}
		})
	}
}

func TestAConsoleSignInTellsItsResultInTheResponse(t *testing.T) {
	record := `{"eventName":"ConsoleLogin","eventSource":"signin.amazonaws.com","eventType":"AwsConsoleSignIn","userIdentity":{"type":"IAMUser","userName":"x","accountId":"1"},"userAgent":"Mozilla/5.0","errorMessage":%s,"responseElements":{"ConsoleLogin":"%s"}}`
	ok := one(t, fmt.Sprintf(record, "null", "Success"), activity.Options{})
	bad := one(t, fmt.Sprintf(record, `"Failed authentication"`, "Failure"), activity.Options{})
	if ok.Status != nhi.Success || !ok.Principal.Interactive || bad.Status != nhi.Failure || bad.Error != "Failed authentication" {
		t.Errorf("got %+v and %+v", ok, bad)
	}
}

func TestAnEventBridgeMessageIsOpened(t *testing.T) {
	ev := one(t, `{"version":"0","id":"m","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","detail":{"eventName":"CreateUser","eventSource":"iam.amazonaws.com","eventID":"inner","userIdentity":{"type":"Root","accountId":"1"}}}`, activity.Options{})
	if ev.ID != "inner" || ev.Class != nhi.Admin {
		t.Errorf("got %+v", ev)
	}
}

func TestAMintedKeyIsLinkedToItsRoleAndCaller(t *testing.T) {
	var links []activity.Link
	o := activity.Options{Link: func(l activity.Link) { links = append(links, l) }}
	record := `{"eventName":"AssumeRole","eventSource":"%s","eventTime":"2026-03-01T10:00:00Z","recipientAccountId":"1","userIdentity":{"type":"IAMUser","principalId":"AIDAX","accountId":"1"},
		"responseElements":{"credentials":{"accessKeyId":"ASIAMINTED","sessionToken":"SECRET","expiration":"Mar 1, 2026 11:00:00 AM"},"assumedRoleUser":{"assumedRoleId":"AROAX:s","arn":"arn:aws:sts::1:assumed-role/r/s"}}}`
	one(t, fmt.Sprintf(record, "sts.amazonaws.com"), o)
	one(t, fmt.Sprintf(record, "evil.amazonaws.com"), o)
	want := []activity.Link{{
		Account: "1", KeyID: "ASIAMINTED",
		Target:  nhi.Principal{Type: "AssumedRole", Native: "AROAX", Path: "arn:aws:iam::1:role/r", Name: "r", Account: "1", Session: "s"},
		Caller:  nhi.Principal{Type: "IAMUser", Native: "AIDAX", Account: "1"},
		At:      time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
	}}
	if d := cmp.Diff(want, links); d != "" {
		t.Error(d)
	}
}

func TestSecretsInARecordDoNotReachTheEvent(t *testing.T) {
	const secret = "hunter2hunter2"
	redact := func(s string) string { return strings.ReplaceAll(s, secret, "[removed]") }
	record := strings.ReplaceAll(`{"eventName":"CreateUserS","eventSource":"S.iam.amazonaws.com","awsRegion":"S","userAgent":"curl S","errorCode":"S","errorMessage":"bad password S",
		"requestParameters":{"userName":"S","password":"S","name":"S"},"responseElements":{"accessKey":{"secretAccessKey":"S"},"ConsoleLogin":"S"},"additionalEventData":{"x":"S"},
		"resources":[{"ARN":"arn:S"}],"tlsDetails":{"S":"S"},
		"userIdentity":{"type":"AssumedRole","principalId":"AROAX:S","arn":"arn:aws:sts::1:assumed-role/S/S","accountId":"1","userName":"S","invokedBy":"S","sessionContext":{"sourceIdentity":"S","sessionIssuer":{"userName":"S","arn":"arn:S"},"webIdFederationData":{"federatedProvider":"S","attributes":{"x:sub":"S"}}}}}`, "S", secret)
	// The verb and the other words that contain an S of their own are not at issue.
	ev := one(t, record, activity.Options{Redact: redact})
	if text := fmt.Sprintf("%+v", ev); strings.Contains(text, secret) {
		t.Errorf("the secret is in %s", text)
	}
}

func TestClass(t *testing.T) {
	for _, tt := range []struct {
		service, op string
		readOnly    bool
		want        nhi.ActionClass
	}{
		{"s3", "GetObject", true, nhi.Read}, {"s3", "HeadBucket", true, nhi.Read}, {"s3", "ListBuckets", true, nhi.List},
		{"ec2", "DescribeInstances", true, nhi.List}, {"ec2", "RunInstances", false, nhi.Write}, {"ec2", "TerminateInstances", false, nhi.Delete},
		{"s3", "DeleteObject", false, nhi.Delete}, {"s3", "PutObject", false, nhi.Write}, {"s3", "PutBucketPolicy", false, nhi.Admin},
		{"s3", "DeleteBucketPolicy", false, nhi.Admin}, {"s3", "GetBucketPolicy", true, nhi.Read}, {"s3", "PutBucketLifecyclePolicy", false, nhi.Write},
		{"iam", "CreateAccessKey", false, nhi.Admin}, {"iam", "DeleteUser", false, nhi.Admin}, {"iam", "GetUser", true, nhi.Read},
		{"iam", "AttachRolePolicy", false, nhi.Admin}, {"iam", "ListUsers", true, nhi.List}, {"iam", "TagRole", false, nhi.Admin},
		{"sts", "AssumeRole", true, nhi.Assume}, {"sts", "AssumeRoleWithWebIdentity", true, nhi.Assume}, {"sts", "GetSessionToken", true, nhi.Assume},
		{"sts", "GetCallerIdentity", true, nhi.Read}, {"lambda", "AddPermission", false, nhi.Admin}, {"lambda", "Invoke", false, nhi.Write},
		{"dynamodb", "BatchGetItem", true, nhi.Read}, {"dynamodb", "BatchWriteItem", false, nhi.Write}, {"dynamodb", "Query", true, nhi.Read},
		{"cloudtrail", "StopLogging", false, nhi.Admin}, {"cloudtrail", "LookupEvents", true, nhi.List}, {"kms", "Decrypt", true, nhi.Read},
		{"kms", "ScheduleKeyDeletion", false, nhi.Delete}, {"kms", "PutKeyPolicy", false, nhi.Admin}, {"x", "UnheardOf", true, nhi.Read},
		{"x", "UnheardOf", false, nhi.Write}, {"autoscaling", "PutScalingPolicy", false, nhi.Write}, {"x", "", false, nhi.Write},
		{"secretsmanager", "GetSecretValue", true, nhi.Read}, {"ecr", "BatchDeleteImage", false, nhi.Delete},
	} {
		if got := Class(tt.service+".amazonaws.com", tt.op, tt.readOnly); got != tt.want {
			t.Errorf("Class(%s, %s, %v) = %s, want %s", tt.service, tt.op, tt.readOnly, got, tt.want)
		}
	}
}

func TestAVersionBehindAVerbIsRemoved(t *testing.T) {
	for in, want := range map[string]string{
		"UpdateFunctionCode20150331v2": "UpdateFunctionCode", "Invoke20150331": "Invoke", "CreateDistribution2020_05_31": "CreateDistribution",
		"GetObject": "GetObject", "GetV2": "GetV2", "Archive": "Archive", "ListV2LoggingLevels": "ListV2LoggingLevels", "20150331": "20150331", "": "", "v2": "v2",
	} {
		if got := operation(in); got != want {
			t.Errorf("operation(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzRecord checks that no record panics and that what comes out is bounded.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(benchRecord(1)))
	f.Add([]byte(`{"eventName":"x","userIdentity":{},"detail":{"eventName":"y"},"responseElements":{"credentials":{"accessKeyId":"ASIAX"}}}`))
	f.Add([]byte(`{"detail":{"detail":{"eventName":"y","eventSource":"z"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		o := &activity.Options{Link: func(activity.Link) {}}
		read := open(activity.NewText(nil), o)
		var s jsonscan.Scanner
		s.Reset(in, 0)
		var ev nhi.Event
		err := read(&s, &ev)
		if s.Err() != nil || err != nil {
			return
		}
		if ev.Operation == "" || ev.ID == "" || len(ev.Agent) > 512 || len(ev.Resource) > 1024 || len(ev.Principal.Session) > 256 || len(ev.Operation) > 128 {
			t.Fatalf("got %+v", ev)
		}
		activity.Attribute(&ev)
	})
}

// benchRecord is a record of the usual size.
func benchRecord(i int) string {
	return fmt.Sprintf(`{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEROLE%05[1]d:session-%[2]d","arn":"arn:aws:sts::111122223333:assumed-role/service-%[1]d/session-%[2]d","accountId":"111122223333","accessKeyId":"ASIAEXAMPLEKEY%06[1]d","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEROLE%05[1]d","arn":"arn:aws:iam::111122223333:role/service-%[1]d","accountId":"111122223333","userName":"service-%[1]d"},"webIdFederationData":{},"attributes":{"creationDate":"2026-03-01T10:00:00Z","mfaAuthenticated":"false"}}},"eventTime":"2026-03-01T10:%02[3]d:%02[4]dZ","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"198.51.100.%[5]d","userAgent":"[aws-sdk-go-v2/1.30.0 os/linux lang/go#1.22.0 md/GOOS#linux md/GOARCH#amd64 api/s3#1.58.0]","requestParameters":{"bucketName":"invoices-%[5]d","Host":"invoices.s3.eu-central-1.amazonaws.com","key":"2026/03/01/%08[2]d.json"},"responseElements":null,"requestID":"F7C0F0A%09[2]d","eventID":"%08[2]d-aaaa-bbbb-cccc-123456789012","readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::invoices-%[5]d/2026/03/01"}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256"}}`,
		i%500, i, i/60%60, i%60, i%200)
}

// BenchmarkDecodeAttribute measures decode, normalise and attribute, the path
// that every event takes; the custom metric is events per second.
func BenchmarkDecodeAttribute(b *testing.B) {
	var in bytes.Buffer
	const n = 5000
	in.WriteString(`{"Records":[`)
	for i := range n {
		if i > 0 {
			in.WriteByte(',')
		}
		in.WriteString(benchRecord(i))
	}
	in.WriteString(`]}`)
	d := activity.NewDecoder(Format, activity.Options{})
	a := activity.NewAttributor()
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		stats, err := d.Decode(b.Context(), bytes.NewReader(in.Bytes()), func(ev nhi.Event) error {
			a.Attribute(&ev)
			return nil
		}, func(u activity.Unparsable) error { return &u })
		if err != nil || stats.Events != n {
			b.Fatal(stats, err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(in.Len())/n, "bytes/event")
}

func TestASecretInAnEventIDIsNoID(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "hunter2", "[redacted]") }
	for id, keeps := range map[string]bool{"7f3c1b5e-0a0f-4d7c-8a7e-2f9d1c3b5a77": true, "shared-event-id-42": true, "hunter2": false} {
		record := `{"eventVersion":"1.09","eventTime":"2026-01-02T03:04:05Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"` + id + `"}`
		_, err := Format.Decode(t.Context(), strings.NewReader(record), activity.Options{Redact: redact}, func(ev nhi.Event) error {
			if (ev.ID == id) != keeps || ev.ID == "" {
				t.Errorf("the event id %q became %q", id, ev.ID)
			}
			return nil
		}, func(u activity.Unparsable) error { t.Error(u.Reason); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}
