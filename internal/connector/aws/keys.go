package aws

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

const keyList = "AccessKeyMetadata"

// accessKey is an element of AccessKeyMetadata.
type accessKey struct {
	file       string
	UserName   string
	ID         string `json:"AccessKeyId"`
	Status     string
	CreateDate stamp
}

// readKeys reads one file of access keys: the output of list-access-keys for
// one user, or for several, one after the other or in a list. The elements of
// such a list may also be the keys themselves.
func (a *account) readKeys(f connector.File) error {
	s, err := openJSON(f)
	if err != nil {
		return err
	}
	found := false
	take := func(raw json.RawMessage) error {
		found = true
		k := accessKey{file: f.Name}
		if err := json.Unmarshal(raw, &k); err != nil {
			return err
		}
		return a.takeKey(k)
	}
	alone := make(map[string]json.RawMessage) // fields of a key that is an object of its own
	objects := 0
	err = s.objects(func(key string) error {
		switch key {
		case keyList:
			found = true
			return s.list(key, take, a.report.Add)
		case "UserName", "AccessKeyId", "Status", "CreateDate":
			var raw json.RawMessage
			err := s.value(&raw)
			alone[key] = raw
			return err
		}
		return s.skip()
	}, func() {
		objects++
		if len(alone["AccessKeyId"]) > 0 {
			raw, err := json.Marshal(alone)
			if err == nil {
				err = take(raw)
			}
			if err != nil {
				a.report.Add(connector.Problem{File: f.Name, Where: fmt.Sprintf("object %d", objects), What: clean(err.Error(), 300)})
			}
		}
		clear(alone)
	})
	if err != nil {
		return err
	}
	if !found {
		return nhi.Invalidf("%s: no %s is in it: is it the output of aws iam list-access-keys?", f.Name, keyList)
	}
	return nil
}

func (a *account) takeKey(k accessKey) error {
	if len(k.ID) < 16 || len(k.ID) > 128 || !upperAlnum(k.ID) {
		return fmt.Errorf("%q is not an access key id", clean(k.ID, 40))
	}
	if k.UserName == "" {
		return errors.New("access key " + k.ID + " names no user")
	}
	k.UserName, k.Status = clean(k.UserName, 128), clean(k.Status, 32)
	a.keys = append(a.keys, k)
	return nil
}

func upperAlnum(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
