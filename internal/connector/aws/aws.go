// Package aws reads the files in which AWS IAM tells who is in an account:
//
//	aws iam get-account-authorization-details > details.json
//	for u in $(aws iam list-users --query 'Users[].UserName' --output text); do
//		aws iam list-access-keys --user-name "$u"
//	done > keys.json
//	aws iam generate-credential-report
//	aws iam get-credential-report > report.json    # or its CSV content
//
// The first holds users, groups, roles and policies, and is required. The
// second adds the ids and dates of access keys; without it keys appear when
// CloudTrail sees them used. The third adds console passwords and the last use
// of keys. It names no key ids, but a key's last rotation there is the moment
// it was made, which is what joins it to the second.
//
// # What becomes what
//
// Users are of kind iam-user and roles of kind iam-role, under their immutable
// ids (UserId, RoleId), because a name can be given to another tomorrow. Roles
// that a service owns (path /aws-service-role/) are of kind cloud-service.
// Groups act in nobody's name: their policies become grants of their members.
// Tags become labels; who owns an identity because of them is the inventory's
// to say. The account's root user is in no list and is left to the logs.
//
// A grant is marked Admin when it allows every action on every resource
// without a condition. Nothing here evaluates policies.
package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

// The forms of file.
const (
	AuthorizationDetails = "authorization-details"
	AccessKeys           = "access-keys"
	CredentialReport     = "credential-report"
)

// Connector is what the product knows about AWS IAM.
var Connector = &connector.Kind{
	Name:  provider,
	Doc:   "IAM users, roles, access keys, passwords, policies and owner tags of one account",
	Forms: forms,
	Read:  Read,
}

var forms = []connector.Form{
	{Name: AuthorizationDetails, Doc: "aws iam get-account-authorization-details", Required: true},
	{Name: AccessKeys, Doc: "aws iam list-access-keys, of one or several users"},
	{Name: CredentialReport, Doc: "aws iam get-credential-report, or its CSV content"},
}

const provider = "aws"

// grantKind in Observation.Complete says that every grant is there.
const grantKind = "grant"

// An account collects what the files say.
type account struct {
	id      string // 12 digits; empty until known
	source  string // the ARN that told the id
	report  connector.Report
	users   []user
	roles   []role
	groups  map[string]group
	managed map[string]string // ARN of a policy -> its document
	admins  map[string]bool   // document -> whether it is an administrator's
	odd     map[string]bool   // lists that had an item which could not be read
	partial bool              // a file says that more pages follow
	keys    []accessKey
	rows    map[string]reportRow // by user name; nil without a report
}

// Read reads the files of one account.
func Read(ctx context.Context, in connector.Input) (connector.Report, error) {
	if err := connector.Check(provider, forms, in); err != nil {
		return connector.Report{}, err
	}
	a := &account{
		id: in.Account, source: "the account asked for",
		groups: make(map[string]group), managed: make(map[string]string),
		admins: make(map[string]bool), odd: make(map[string]bool),
	}
	// The details come first: they name the users that the others speak of.
	for _, form := range forms {
		for _, f := range in.Files {
			if f.Form != form.Name {
				continue
			}
			if err := ctx.Err(); err != nil {
				return connector.Report{}, err
			}
			if err := a.read(f); err != nil {
				return connector.Report{}, err
			}
		}
	}
	return a.finish(in)
}

func (a *account) read(f connector.File) error {
	switch f.Form {
	case AuthorizationDetails:
		return a.readDetails(f)
	case AccessKeys:
		return a.readKeys(f)
	default:
		return a.readReport(f)
	}
}

// claim notes the account that an ARN speaks of and refuses a second one: two
// accounts in one observation would be two truths about what is missing.
func (a *account) claim(file, arn string) error {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" || !accountID(parts[4]) {
		return fmt.Errorf("%q is not the ARN of an IAM identity", clean(arn, 80))
	}
	switch a.id {
	case "":
		a.id, a.source = parts[4], clean(arn, 200)
	case parts[4]:
	default:
		return &foreignError{nhi.Invalidf("%s: %s is in account %s, but %s is account %s: import accounts one at a time",
			file, clean(arn, 200), parts[4], a.source, a.id)}
	}
	return nil
}

// A foreignError ends the reading; other errors of an item are only reported.
type foreignError struct{ error }

func (e *foreignError) Unwrap() error { return e.error }

func accountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// finish makes the observation of what was collected.
func (a *account) finish(in connector.Input) (connector.Report, error) {
	if a.id == "" {
		return connector.Report{}, nhi.Invalidf("%s: no user and no role, so the account is not known", in.Files[0].Name)
	}
	o := &a.report.Observation
	o.Provider, o.Account, o.At = provider, a.id, in.At
	for i := range a.users {
		a.addUser(&a.users[i])
	}
	for i := range a.roles {
		a.addRole(&a.roles[i])
	}
	a.addKeys(in)
	a.complete()
	return a.report, nil
}

// complete says of which kinds the observation holds every one. A list with an
// unreadable item, or an empty one, proves nothing: it may have been filtered
// away.
func (a *account) complete() {
	if a.partial {
		return
	}
	o := &a.report.Observation
	if len(a.users) > 0 && !a.odd[userList] {
		o.Complete = append(o.Complete, string(nhi.KindUser))
	}
	if len(a.roles) > 0 && !a.odd[roleList] {
		o.Complete = append(o.Complete, string(nhi.KindRole), string(nhi.KindService))
	}
	if !slices.ContainsFunc([]string{userList, roleList, groupList, policyList}, func(l string) bool { return a.odd[l] }) {
		o.Complete = append(o.Complete, grantKind)
	}
}

func (a *account) addUser(u *user) {
	id := nhi.IdentityID(provider, a.id, u.UserID)
	i := nhi.Identity{
		ID: id, Kind: nhi.KindUser, Provider: provider, Account: a.id, Native: u.UserID,
		Name: u.UserName, Path: u.ARN, Labels: u.Tags.labels(), Created: u.CreateDate.Time,
	}
	g := granter{a: a, identity: id}
	g.inline("inline-policy", "", u.Policies)
	g.attached("managed-policy", u.Attached)
	g.boundary(u.Boundary)
	for _, name := range u.Groups {
		group, ok := a.groups[name]
		if !ok {
			a.report.Add(connector.Problem{File: u.file, Where: "user " + u.UserName, What: "its group " + clean(name, 128) + " is not in the file"})
			a.odd[groupList] = true
			continue
		}
		g.inline("group-policy", name+"/", group.Policies)
		g.attached("group-policy", group.Attached)
	}
	if row, ok := a.rows[u.UserName]; ok {
		i.LastSeen = row.lastUse()
		if row.passwordEnabled {
			i.Purpose = "signs in to the console"
			a.addPassword(id, u.UserID, row)
		}
	}
	a.report.Observation.Identities = append(a.report.Observation.Identities, i)
}

func (a *account) addRole(r *role) {
	i := nhi.Identity{
		ID: nhi.IdentityID(provider, a.id, r.RoleID), Kind: nhi.KindRole, Provider: provider, Account: a.id, Native: r.RoleID,
		Name: r.RoleName, Path: r.ARN, Labels: r.Tags.labels(), Created: r.CreateDate.Time, LastSeen: r.LastUsed.Date.Time,
	}
	switch {
	case strings.HasPrefix(r.Path, "/aws-service-role/"):
		i.Kind = nhi.KindService
		i.Purpose = "role of " + strings.Trim(strings.TrimPrefix(r.Path, "/aws-service-role/"), "/")
	case strings.HasPrefix(r.Path, "/aws-reserved/sso.amazonaws.com/"):
		i.Purpose = "assumed by people through IAM Identity Center"
	}
	g := granter{a: a, identity: i.ID}
	g.add("trust", "trust policy", string(r.Trust), false)
	g.inline("inline-policy", "", r.Policies)
	g.attached("managed-policy", r.Attached)
	g.boundary(r.Boundary)
	a.report.Observation.Identities = append(a.report.Observation.Identities, i)
}

func (a *account) addPassword(id nhi.ID, userID string, row reportRow) {
	a.report.Observation.Credentials = append(a.report.Observation.Credentials, nhi.Credential{
		ID: nhi.NewCredentialID(provider, a.id, "password/"+userID), Identity: id, Kind: nhi.CredentialPassword,
		Provider: provider, Account: a.id, State: nhi.CredentialActive, Native: "Active",
		Rotated: row.passwordChanged, LastUsed: row.passwordUsed,
	})
}

// addKeys joins the access keys with their users, and with what the report
// says of them.
func (a *account) addKeys(in connector.Input) {
	ids := make(map[string]nhi.ID, len(a.users))
	for _, u := range a.users {
		ids[u.UserName] = nhi.IdentityID(provider, a.id, u.UserID)
	}
	listed := make(map[string]bool)
	for _, k := range a.keys {
		id, ok := ids[k.UserName]
		if !ok {
			a.report.Add(connector.Problem{File: k.file, Where: "access key " + k.ID, What: "its user " + k.UserName + " is not in the authorization details"})
			continue
		}
		if listed[k.ID] {
			continue
		}
		listed[k.ID] = true
		a.report.Observation.Credentials = append(a.report.Observation.Credentials, nhi.Credential{
			ID: nhi.NewCredentialID(provider, a.id, k.ID), Identity: id, Kind: nhi.CredentialAWSAccessKey,
			Provider: provider, Account: a.id, PublicID: k.ID, State: nhi.CredentialActive, Native: k.Status,
			Created: k.CreateDate.Time, LastUsed: a.rows[k.UserName].usedOf(k.CreateDate.Time),
		})
	}
	if len(a.keys) == 0 {
		a.missKeys(in)
	}
}

// missKeys tells that the report speaks of keys whose ids are not known.
func (a *account) missKeys(in connector.Input) {
	n := 0
	for _, row := range a.rows {
		for _, k := range row.keys {
			if k.active {
				n++
			}
		}
	}
	if n > 0 {
		a.report.Add(connector.Problem{File: fileOf(in, CredentialReport), Where: "access keys",
			What: fmt.Sprintf("%d active keys are known without their ids: give the %s too", n, AccessKeys)})
	}
}

func fileOf(in connector.Input, form string) string {
	for _, f := range in.Files {
		if f.Form == form {
			return f.Name
		}
	}
	return form
}
