package world

import (
	"math/rand/v2"
	"net/netip"

	"github.com/muster-id/muster/internal/activity/cloudtrail"
	"github.com/muster-id/muster/internal/nhi"
)

// An Ask is a question that one of the company's own services puts to an
// enforcement point about a cloud identity: may it do this, from here?
type Ask struct {
	Identity nhi.ID
	Class    nhi.ActionClass
	Action   string // the operation
	Resource string
	Address  netip.Addr
	Agent    string
}

// cloudServices are the cloud's services as resources, whose name is the
// service: both sides of the border use them.
var cloudServices = []resource{
	{"s3.amazonaws.com", "shared", "storage", "eu-west-1", "GDPR", 2},
	{"kms.amazonaws.com", "shared", "keys", "eu-west-1", "GDPR", 2},
	{"ec2.amazonaws.com", "shared", "compute", "eu-west-1", "", 1},
	{"iam.amazonaws.com", "shared", "identity", "us-east-1", "", 2},
	{"lambda.amazonaws.com", "shared", "compute", "eu-west-1", "", 2},
	{"dynamodb.amazonaws.com", "shared", "data", "eu-west-1", "GDPR", 2},
	{"sqs.amazonaws.com", "shared", "messages", "eu-west-1", "", 1},
	{"monitoring.amazonaws.com", "shared", "operations", "eu-west-1", "", 0},
	{"logs.amazonaws.com", "shared", "operations", "eu-west-1", "", 1},
	{"rds.amazonaws.com", "shared", "data", "eu-west-1", "GDPR", 2},
	{"secretsmanager.amazonaws.com", "shared", "keys", "eu-west-1", "GDPR", 2},
	{"ecr.amazonaws.com", "shared", "build", "eu-west-1", "", 1},
}

// Ask draws a question about a cloud identity that is at work. Most are about
// what it does every day; one in thirty asks for what it should not have: a
// sensitive resource, or one on the other side of production's border.
func (w *World) Ask(r *rand.Rand) Ask {
	a := w.busy[r.IntN(len(w.busy))]
	c := weighted(r, a.calls)
	ask := Ask{
		Identity: a.id(), Class: cloudtrail.Class(c.service, c.operation, c.readOnly()), Action: c.operation, Resource: c.service,
		Address: pick(r, a.from).Address, Agent: a.agent,
	}
	if r.IntN(30) == 0 {
		odd := pick(r, []string{"platform/keys", "staging/payments", "payments/api"})
		ask.Class, ask.Action, ask.Resource = nhi.Read, "read", odd
	}
	return ask
}
