package world

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Details writes what `aws iam get-account-authorization-details` prints for
// an account.
func (w *World) Details(out io.Writer, account string) error {
	type tag struct{ Key, Value string }
	type inline struct{ PolicyName, PolicyDocument string }
	type attached struct{ PolicyName, PolicyArn string }
	type user struct {
		Path, UserName, UserId, Arn string
		CreateDate                  time.Time
		UserPolicyList              []inline
		GroupList                   []string
		AttachedManagedPolicies     []attached
		Tags                        []tag
	}
	type role struct {
		Path, RoleName, RoleId, Arn string
		CreateDate                  time.Time
		AssumeRolePolicyDocument    string
		RolePolicyList              []inline
		AttachedManagedPolicies     []attached
		Tags                        []tag
	}
	var doc struct {
		UserDetailList  []user
		GroupDetailList []struct{}
		RoleDetailList  []role
		Policies        []struct{}
	}
	for _, a := range w.of(account) {
		var tags []tag
		for k, v := range a.tags {
			tags = append(tags, tag{k, v})
		}
		slices.SortFunc(tags, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
		own := []inline{{"work", url.QueryEscape(a.policy)}}
		switch a.kind {
		case nhi.KindUser:
			doc.UserDetailList = append(doc.UserDetailList, user{
				Path: "/", UserName: a.name, UserId: a.native, Arn: a.account.arn("user", a.name), CreateDate: a.created, UserPolicyList: own, Tags: tags,
			})
		case nhi.KindRole:
			doc.RoleDetailList = append(doc.RoleDetailList, role{
				Path: "/", RoleName: a.name, RoleId: a.native, Arn: a.account.arn("role", a.name), CreateDate: a.created, RolePolicyList: own, Tags: tags,
				AssumeRolePolicyDocument: url.QueryEscape(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
			})
		}
	}
	if err := json.NewEncoder(out).Encode(doc); err != nil {
		return fmt.Errorf("write authorization details of %s: %w", account, err)
	}
	return nil
}

// AccessKeys writes what `aws iam list-access-keys` prints, for every user of
// an account together.
func (w *World) AccessKeys(out io.Writer, account string) error {
	type meta struct {
		UserName, AccessKeyId, Status string
		CreateDate                    time.Time
	}
	var doc struct{ AccessKeyMetadata []meta }
	doc.AccessKeyMetadata = []meta{}
	for _, a := range w.of(account) {
		for i, id := range a.keys {
			doc.AccessKeyMetadata = append(doc.AccessKeyMetadata, meta{a.name, id, "Active", a.created.Add(time.Duration(i*90*24) * time.Hour)})
		}
	}
	if err := json.NewEncoder(out).Encode(doc); err != nil {
		return fmt.Errorf("write access keys of %s: %w", account, err)
	}
	return nil
}

// Report writes the account's credential report, the CSV of `aws iam
// get-credential-report`.
func (w *World) Report(out io.Writer, account string) error {
	c := csv.NewWriter(out)
	_ = c.Write(strings.Split("user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated", ","))
	for _, a := range w.of(account) {
		if a.kind != nhi.KindUser {
			continue
		}
		row := []string{a.name, a.account.arn("user", a.name), a.created.Format(time.RFC3339), "false", "N/A", "N/A", "N/A", "false"}
		for i := range 2 {
			if i >= len(a.keys) {
				row = append(row, "false", "N/A", "N/A", "N/A", "N/A")
				continue
			}
			used, region, service := "N/A", "N/A", "N/A"
			if a.weight > 0 && len(a.calls) > 0 {
				used, region, service = w.Start.Add(-2*time.Hour).Format(time.RFC3339), a.account.Region, strings.TrimSuffix(a.calls[0].service, ".amazonaws.com")
			}
			row = append(row, "true", a.created.Format(time.RFC3339), used, region, service)
		}
		_ = c.Write(append(row, "false", "N/A", "false", "N/A"))
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write credential report of %s: %w", account, err)
	}
	return nil
}

// of returns the actors that IAM knows in an account.
func (w *World) of(account string) []*actor {
	var out []*actor
	for _, a := range w.actors {
		if a.account.ID == account && a.kind != nhi.KindWorkload {
			out = append(out, a)
		}
	}
	return out
}
