package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// maxDocument bounds one policy. IAM's own limits are far below.
const maxDocument = 128 << 10

// A document is a policy as compact JSON. Tools write it as an object, or as a
// string that holds it, URL-encoded (RFC 3986) as the API sends it.
type document string

// UnmarshalJSON takes the three forms.
func (d *document) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		if text = strings.TrimSpace(text); strings.HasPrefix(text, "%") {
			decoded, err := url.QueryUnescape(text)
			if err != nil {
				return errors.New("policy document is not URL-encoded as it seems")
			}
			text = decoded
		}
		b = []byte(text)
	}
	if len(b) > maxDocument {
		return fmt.Errorf("policy document of %d bytes: %w", len(b), nhi.ErrTooLarge)
	}
	if err := shallow(b); err != nil {
		return fmt.Errorf("policy document: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return errors.New("policy document is not JSON")
	}
	*d = document(clean(compact.String(), maxDocument))
	return nil
}

// A granter adds the grants of one identity.
type granter struct {
	a        *account
	identity nhi.ID
}

func (g granter) add(kind, name, doc string, admin bool) {
	g.a.report.Observation.Grants = append(g.a.report.Observation.Grants, nhi.Grant{
		ID:       nhi.DerivedID("grt_", string(g.identity), kind, name, doc),
		Identity: g.identity, Kind: kind, Name: name, Document: doc, Admin: admin,
	})
}

func (g granter) inline(kind, prefix string, policies []inlinePolicy) {
	for _, p := range policies {
		g.add(kind, prefix+p.Name, string(p.Document), g.a.admin(string(p.Document)))
	}
}

func (g granter) attached(kind string, policies []attachedPolicy) {
	for _, p := range policies {
		doc := g.a.managed[p.ARN]
		g.add(kind, p.ARN, doc, administratorAccess(p.ARN) || g.a.admin(doc))
	}
}

func (g granter) boundary(b boundary) {
	if b.ARN != "" {
		g.add("boundary", b.ARN, g.a.managed[b.ARN], false)
	}
}

// administratorAccess reports whether arn is the policy of AWS that allows
// everything, in any partition. An account's own policy of that name is not.
func administratorAccess(arn string) bool {
	rest, ok := strings.CutPrefix(arn, "arn:aws")
	_, rest, colon := strings.Cut(rest, ":")
	return ok && colon && rest == "iam::aws:policy/AdministratorAccess"
}

// admin is the function of that name, asked once for each document: a managed
// policy is attached to many.
func (a *account) admin(doc string) bool {
	is, ok := a.admins[doc]
	if !ok {
		is = admin(doc)
		a.admins[doc] = is
	}
	return is
}

// admin reports whether a policy has a statement that allows every action on
// every resource without a condition.
func admin(doc string) bool {
	var p struct{ Statement statements }
	if json.Unmarshal([]byte(doc), &p) != nil {
		return false
	}
	return slices.ContainsFunc(p.Statement, func(s statement) bool {
		return s.Effect == "Allow" && len(s.Condition) == 0 &&
			slices.ContainsFunc(s.Action, everyAction) && slices.Contains(s.Resource, "*")
	})
}

func everyAction(a string) bool { return a != "" && strings.Trim(a, "*:") == "" }

type statement struct {
	Effect    string
	Action    words
	Resource  words
	Condition map[string]json.RawMessage
}

// words is a string or a list of strings.
type words []string

// UnmarshalJSON takes both forms.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// statements is one statement or a list of them.
type statements []statement

// UnmarshalJSON takes both forms.
func (l *statements) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var one statement
		err := json.Unmarshal(b, &one)
		*l = statements{one}
		return err
	}
	return json.Unmarshal(b, (*[]statement)(l))
}
