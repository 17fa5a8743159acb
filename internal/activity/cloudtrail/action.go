package cloudtrail

import (
	"strings"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/awsops"
	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// Class says what an operation does, see awsops.Class. service is the event
// source of the record.
func Class(service, op string, readOnly bool) nhi.ActionClass {
	class, _ := awsops.Class(strings.TrimSuffix(service, ".amazonaws.com"), op, readOnly)
	return class
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
