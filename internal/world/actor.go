package world

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A rhythm says when an actor works.
type rhythm int

const (
	always rhythm = iota
	office        // weekdays, daytime
	nightly
	weekly
	rarely
)

// A call is one kind of thing an actor does.
type call struct {
	service, operation string
	weight             int
}

// readOnly is what CloudTrail says of the call.
func (c call) readOnly() bool {
	return strings.HasPrefix(c.operation, "Get") || strings.HasPrefix(c.operation, "List") || strings.HasPrefix(c.operation, "Describe")
}

// An actor is an identity with habits.
type actor struct {
	account Account
	kind    nhi.Kind
	name    string
	native  string
	keys    []string // access key ids
	tags    map[string]string
	policy  string
	created time.Time

	from   []Network
	agent  string
	calls  []call
	when   rhythm
	weight float64 // share of the company's activity; 0: silent
	// issuer and subject of a pipeline that assumes a role.
	issuer, subject string
	assumes         *actor
}

// id is the inventory's id of the actor.
func (a *actor) id() nhi.ID {
	if a.kind == nhi.KindWorkload {
		return nhi.IdentityID("oidc", a.issuer, a.subject)
	}
	return nhi.IdentityID("aws", a.account.ID, a.native)
}

// jobs are what machine identities are for: a name, an agent and the calls
// they make. Names of operations are the provider's.
var jobs = []struct {
	name, agent string
	calls       []call
}{
	{"exporter", "Boto3/1.34.%d md/Botocore#1.34 ua/2.0 os/linux lang/python#3.11", []call{{"s3.amazonaws.com", "PutObject", 8}, {"s3.amazonaws.com", "ListObjects", 3}, {"kms.amazonaws.com", "GenerateDataKey", 4}}},
	{"reader", "aws-sdk-go-v2/1.%d.0 os/linux lang/go", []call{{"s3.amazonaws.com", "GetObject", 12}, {"kms.amazonaws.com", "Decrypt", 5}}},
	{"deployer", "APN/1.0 HashiCorp/1.0 Terraform/1.%d.2", []call{{"ec2.amazonaws.com", "DescribeInstances", 6}, {"iam.amazonaws.com", "GetRole", 4}, {"lambda.amazonaws.com", "UpdateFunctionCode20150331v2", 2}, {"s3.amazonaws.com", "GetObject", 3}}},
	{"settler", "aws-sdk-java/2.20.%d Linux OpenJDK", []call{{"dynamodb.amazonaws.com", "GetItem", 10}, {"dynamodb.amazonaws.com", "UpdateItem", 6}, {"sqs.amazonaws.com", "ReceiveMessage", 9}}},
	{"monitor", "Boto3/1.28.%d md/Botocore#1.31", []call{{"monitoring.amazonaws.com", "GetMetricData", 14}, {"ec2.amazonaws.com", "DescribeInstances", 5}, {"logs.amazonaws.com", "FilterLogEvents", 4}}},
	{"backup", "aws-cli/2.%d.0 md/awscrt#0.19 exe/x86_64", []call{{"rds.amazonaws.com", "CreateDBSnapshot", 2}, {"rds.amazonaws.com", "DescribeDBSnapshots", 5}, {"s3.amazonaws.com", "PutObject", 3}}},
	{"secrets-sync", "aws-sdk-go/1.44.%d (go1.20; linux; amd64)", []call{{"secretsmanager.amazonaws.com", "GetSecretValue", 9}, {"secretsmanager.amazonaws.com", "ListSecrets", 2}}},
	{"builder", "aws-sdk-js/3.%d.0 os/linux lang/js", []call{{"ecr.amazonaws.com", "GetAuthorizationToken", 6}, {"ecr.amazonaws.com", "PutImage", 3}, {"ecr.amazonaws.com", "BatchCheckLayerAvailability", 8}}},
}

const (
	policyRead  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket","kms:Decrypt"],"Resource":"arn:aws:s3:::harborpine-%s/*"}]}`
	policyWrite = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","dynamodb:*","sqs:*"],"Resource":"*"}]}`
	policyAdmin = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
)

func (w *World) drawActors(r *rand.Rand) {
	for i := range w.Users {
		a := w.drawActor(r, nhi.KindUser, i)
		a.keys = append(a.keys, accessKeyID(r, a.account.ID))
		if r.IntN(6) == 0 {
			a.keys = append(a.keys, accessKeyID(r, a.account.ID))
		}
		w.actors = append(w.actors, a)
	}
	var assumable []*actor
	for i := range w.Roles {
		a := w.drawActor(r, nhi.KindRole, i)
		w.actors = append(w.actors, a)
		if i%5 == 0 {
			assumable = append(assumable, a)
		}
	}
	if len(assumable) == 0 {
		return
	}
	for i := range w.Pipelines {
		w.actors = append(w.actors, w.drawPipeline(r, i, pick(r, assumable)))
	}
}

func (w *World) drawActor(r *rand.Rand, kind nhi.Kind, i int) *actor {
	job := pick(r, jobs)
	a := &actor{
		account: w.account(r.IntN(100) / 20), kind: kind, created: w.Start.Add(-time.Duration(30+r.IntN(1400)) * 24 * time.Hour),
		agent: fmt.Sprintf(job.agent, 10+r.IntN(40)), calls: job.calls, when: rhythm(r.IntN(4)),
	}
	team := pick(r, teams)
	a.name = fmt.Sprintf("%s-%s-%03d", team, job.name, i)
	a.native = native(r, map[nhi.Kind]string{nhi.KindUser: "AIDA", nhi.KindRole: "AROA"}[kind])
	a.tags = map[string]string{}
	switch r.IntN(10) {
	case 0, 1: // nobody answers for it
	case 2, 3:
		a.tags["owner"] = pick(r, people) + "@harborpine.example"
	default:
		a.tags["team"] = team
	}
	switch r.IntN(20) {
	case 0:
		a.policy = policyAdmin
	case 1, 2, 3, 4, 5:
		a.policy = policyWrite
	default:
		a.policy = fmt.Sprintf(policyRead, team)
	}
	for range 1 + r.IntN(2) {
		a.from = append(a.from, pick(r, w.networks))
	}
	// A third of all identities do nearly everything; many do nothing at all.
	switch v := r.Float64(); {
	case v < 0.08:
		a.weight = 12 + 20*r.Float64()
	case v < 0.45:
		a.weight = 1 + 2*r.Float64()
	case v < 0.6:
		a.weight, a.when = 0.1, rarely
	}
	return a
}

func (w *World) drawPipeline(r *rand.Rand, i int, role *actor) *actor {
	team := pick(r, teams)
	a := &actor{
		account: role.account, kind: nhi.KindWorkload, assumes: role, weight: 0.4 + r.Float64(), when: office,
		agent: "aws-sdk-js/3.400.0 os/linux lang/js", from: []Network{pick(r, w.networks)},
	}
	if i%2 == 0 {
		a.issuer = "https://token.actions.githubusercontent.com"
		a.subject = fmt.Sprintf("repo:harborpine/%s-%03d:ref:refs/heads/main", team, i)
	} else {
		a.issuer, a.when = w.Issuer, always
		a.subject = fmt.Sprintf("system:serviceaccount:%s:worker-%03d", team, i)
	}
	a.name = a.subject
	return a
}
