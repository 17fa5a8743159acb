package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const account = "210987654321"

// mind is what the server has learned.
func (r *running) mind() *baseline.Learner { return r.learner.Mind.Normal }

// An event is a CloudTrail record in few words.
type event struct {
	id, user, key, op, address, failure, agent string
	account                                    string // that the record is about
	home                                       string // account of the user, when another
}

func userID(user string) string {
	return "AIDAQ3EGRZ4K" + strings.ToUpper(strings.Repeat(user, 20)[:9])
}

func awsID(user string) nhi.ID { return nhi.IdentityID("aws", account, userID(user)) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func record(e event) string {
	about := or(e.account, account)
	home := or(e.home, about)
	who := map[string]any{
		"type": "IAMUser", "principalId": userID(e.user), "arn": "arn:aws:iam::" + home + ":user/" + e.user, "accountId": home, "userName": e.user,
	}
	if e.key != "" {
		who["accessKeyId"] = e.key
	}
	rec := map[string]any{
		"eventVersion": "1.09", "userIdentity": who, "eventTime": "2026-03-01T10:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": or(e.op, "GetObject"),
		"awsRegion": "eu-west-1", "sourceIPAddress": or(e.address, "203.0.113.7"), "userAgent": or(e.agent, "aws-cli/2.15"), "eventID": "event-" + e.id,
		"eventType": "AwsApiCall", "recipientAccountId": about,
	}
	if e.failure != "" {
		rec["errorCode"] = e.failure
	}
	b, err := json.Marshal(rec)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// trail is a file of CloudTrail.
func trail(events ...event) io.Reader {
	var records []string
	for _, e := range events {
		records = append(records, record(e))
	}
	return strings.NewReader(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

// details is what IAM exports about users.
func details(users ...string) string {
	var list []string
	for _, u := range users {
		list = append(list, fmt.Sprintf(`{"UserName":%q,"UserId":%q,"Path":"/","Arn":"arn:aws:iam::%s:user/%s","CreateDate":"2024-01-01T00:00:00Z"}`, u, userID(u), account, u))
	}
	return `{"UserDetailList":[` + strings.Join(list, ",") + `]}`
}

func accessKeys(user, id string) string {
	return fmt.Sprintf(`{"AccessKeyMetadata":[{"UserName":%q,"AccessKeyId":%q,"Status":"Active","CreateDate":"2024-01-01T00:00:00Z"}]}`, user, id)
}

// A platform signs who its workloads are, as Kubernetes does.
type platform struct {
	signer *jose.Signer
	issuer string
	prover *jose.Prover
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{signer: jose.NewES256Signer(jose.GenerateES256(), "JWT"), prover: jose.NewProver(jose.GenerateES256())}
	set, err := jose.NewKeySet(p.signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) }))
	t.Cleanup(srv.Close)
	p.issuer = srv.URL
	return p
}

func (p *platform) trust(identity string) string {
	return fmt.Sprintf("- {name: settler, issuer: %q, jwks_uri: %q, audience: muster, claims: {sub: \"system:serviceaccount:pay:settler\"}, identity: %s}\n", p.issuer, p.issuer+"/keys", identity)
}

// subject is the platform's word for the workload.
func (p *platform) subject(t *testing.T) string {
	t.Helper()
	token, err := p.signer.Sign(map[string]any{
		"iss": p.issuer, "sub": "system:serviceaccount:pay:settler", "aud": []string{"muster"}, "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// exchange is RFC 8693 with a DPoP proof.
func (p *platform) exchange(t *testing.T, r *running, subject string) (int, string) {
	t.Helper()
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	req, err := http.NewRequest(http.MethodPost, r.URL()+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("DPoP", p.proof(t, http.MethodPost, r.URL()+"/oauth2/token", ""))
	return do(t, req)
}

// token exchanges and returns the token.
func (p *platform) token(t *testing.T, r *running) string {
	t.Helper()
	status, body := p.exchange(t, r, p.subject(t))
	var reply struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != http.StatusOK || reply.AccessToken == "" {
		t.Fatalf("exchange: %d %s", status, body)
	}
	return reply.AccessToken
}

func (p *platform) proof(t *testing.T, method, target, token string) string {
	t.Helper()
	proof, err := p.prover.Proof(method, target, token)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// search returns the file below dir that holds text, or "".
func search(t *testing.T, dir, text string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
