package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

// The lists in the authorization details.
const (
	userList   = "UserDetailList"
	groupList  = "GroupDetailList"
	roleList   = "RoleDetailList"
	policyList = "Policies"
)

// user is an element of UserDetailList.
type user struct {
	file       string
	UserName   string
	UserID     string `json:"UserId"`
	ARN        string `json:"Arn"`
	CreateDate stamp
	Policies   []inlinePolicy `json:"UserPolicyList"`
	Groups     []string       `json:"GroupList"`
	Attached   attachedList   `json:"AttachedManagedPolicies"`
	Boundary   boundary       `json:"PermissionsBoundary"`
	Tags       tags
}

// role is an element of RoleDetailList.
type role struct {
	RoleName   string
	RoleID     string `json:"RoleId"`
	ARN        string `json:"Arn"`
	Path       string
	CreateDate stamp
	Trust      document       `json:"AssumeRolePolicyDocument"`
	Policies   []inlinePolicy `json:"RolePolicyList"`
	Attached   attachedList   `json:"AttachedManagedPolicies"`
	Boundary   boundary       `json:"PermissionsBoundary"`
	Tags       tags
	LastUsed   struct {
		Date stamp `json:"LastUsedDate"`
	} `json:"RoleLastUsed"`
}

// group is an element of GroupDetailList.
type group struct {
	GroupName string
	ARN       string         `json:"Arn"`
	Policies  []inlinePolicy `json:"GroupPolicyList"`
	Attached  attachedList   `json:"AttachedManagedPolicies"`
}

// managedPolicy is an element of Policies.
type managedPolicy struct {
	ARN      string `json:"Arn"`
	Default  string `json:"DefaultVersionId"`
	Versions []struct {
		Document  document
		VersionID string `json:"VersionId"`
		IsDefault bool   `json:"IsDefaultVersion"`
	} `json:"PolicyVersionList"`
}

type inlinePolicy struct {
	Name     string   `json:"PolicyName"`
	Document document `json:"PolicyDocument"`
}

type attachedPolicy struct {
	Name string `json:"PolicyName"`
	ARN  string `json:"PolicyArn"`
}

type attachedList = []attachedPolicy

type boundary struct {
	ARN string `json:"PermissionsBoundaryArn"`
}

type tags []struct{ Key, Value string }

// maxNameBytes bounds a name. IAM's own limit is 64 letters of ASCII.
const maxNameBytes = 128

// maxTags is above IAM's own limit of 50.
const maxTags = 64

// labels returns tags as a map, never nil: no tags is something known too.
func (t tags) labels() map[string]string {
	out := make(map[string]string, len(t))
	for _, tag := range t[:min(len(t), maxTags)] {
		out[clean(tag.Key, 128)] = clean(tag.Value, 256)
	}
	return out
}

// readDetails reads one file of authorization details. It may hold several
// pages one after the other.
func (a *account) readDetails(f connector.File) error {
	s, err := openJSON(f)
	if err != nil {
		return err
	}
	found, truncated := false, false
	lists := map[string]func(json.RawMessage) error{
		userList:   func(raw json.RawMessage) error { return a.takeUser(f.Name, raw) },
		roleList:   func(raw json.RawMessage) error { return a.takeRole(f.Name, raw) },
		groupList:  func(raw json.RawMessage) error { return a.takeGroup(f.Name, raw) },
		policyList: a.takePolicy,
	}
	err = s.objects(func(key string) error {
		switch {
		case lists[key] != nil:
			found = true
			return s.list(key, lists[key], func(p connector.Problem) {
				a.odd[key] = true
				a.report.Add(p)
			})
		case key == "IsTruncated":
			return s.value(&truncated)
		}
		return s.skip()
	}, func() {})
	if err != nil {
		return err
	}
	if !found {
		return nhi.Invalidf("%s: none of %s, %s, %s and %s is in it: is it the output of aws iam get-account-authorization-details?",
			f.Name, userList, roleList, groupList, policyList)
	}
	if truncated {
		a.partial = true
		a.report.Add(connector.Problem{File: f.Name, Where: "IsTruncated", What: "more pages follow that are not in the file, so what is missing is not taken to be gone"})
	}
	return nil
}

func (a *account) takeUser(file string, raw json.RawMessage) error {
	u := user{file: file}
	if err := json.Unmarshal(raw, &u); err != nil {
		return err
	}
	if err := a.identified(file, &u.ARN, &u.UserID, &u.UserName); err != nil {
		return err
	}
	sweep(u.Policies, u.Attached, &u.Boundary)
	a.users = append(a.users, u)
	return nil
}

func (a *account) takeRole(file string, raw json.RawMessage) error {
	var r role
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if err := a.identified(file, &r.ARN, &r.RoleID, &r.RoleName); err != nil {
		return err
	}
	r.Path = clean(r.Path, 512)
	sweep(r.Policies, r.Attached, &r.Boundary)
	a.roles = append(a.roles, r)
	return nil
}

func (a *account) takeGroup(file string, raw json.RawMessage) error {
	var g group
	if err := json.Unmarshal(raw, &g); err != nil {
		return err
	}
	if g.GroupName == "" {
		return errors.New("no GroupName")
	}
	if err := a.claim(file, g.ARN); err != nil {
		return err
	}
	g.GroupName = clean(g.GroupName, 128)
	sweep(g.Policies, g.Attached, nil)
	a.groups[g.GroupName] = g
	return nil
}

func (a *account) takePolicy(raw json.RawMessage) error {
	var p managedPolicy
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	if p.ARN == "" {
		return errors.New("no Arn")
	}
	for _, v := range p.Versions {
		if v.IsDefault || (p.Default != "" && v.VersionID == p.Default) {
			a.managed[clean(p.ARN, maxARN)] = string(v.Document)
			return nil
		}
	}
	return errors.New("no default version of " + clean(p.ARN, 200))
}

const maxARN = 2048

// identified checks and cleans what names an identity.
func (a *account) identified(file string, arn, id, name *string) error {
	switch {
	case *id == "" || len(*id) > 128 || strings.ContainsFunc(*id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("its immutable id %q is not one", clean(*id, 40))
	case *name == "":
		return fmt.Errorf("%s has no name", *id)
	}
	if err := a.claim(file, *arn); err != nil {
		return err
	}
	if len(*name) > maxNameBytes || len(*arn) > maxARN {
		a.report.Add(connector.Problem{File: file, Where: *id, What: fmt.Sprintf("its name of %d bytes is cut to %d; IAM has none over 64 letters, so see where the file comes from", len(*name), maxNameBytes)})
	}
	*arn, *name = clean(*arn, maxARN), clean(*name, maxNameBytes)
	return nil
}

// sweep cleans the names of policies.
func sweep(inline []inlinePolicy, attached []attachedPolicy, b *boundary) {
	for i := range inline {
		inline[i].Name = clean(inline[i].Name, 128)
	}
	for i := range attached {
		attached[i].ARN = clean(attached[i].ARN, maxARN)
	}
	if b != nil {
		b.ARN = clean(b.ARN, maxARN)
	}
}
