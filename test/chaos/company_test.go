package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/world"
)

// A company is a small world that uses a child: its inventory and documents
// are in, its points and sources are enrolled.
type company struct {
	*world.World
	child   *child
	api     *client.Client
	logs    *client.Client
	scanner *client.Client
	texts   *client.Client
	edge    string // key of a point that enforces, nginx's dialect
	asking  string // key of a point that asks by AuthZEN
	signer  *jose.Signer
	issuer  string // of the company's cluster
	http    *http.Client
}

const seed = 20261102

func newCompany(t *testing.T, c *child) *company {
	t.Helper()
	table, err := geo.Default()
	if err != nil {
		t.Fatal(err)
	}
	w, err := world.New(world.Settings{Seed: seed, Start: time.Now().UTC(), Users: 40, Roles: 40, Pipelines: 4, Workloads: 8}, table)
	if err != nil {
		t.Fatal(err)
	}
	co := &company{World: w, child: c, api: c.operator(t), http: &http.Client{Timeout: 20 * time.Second}}
	co.signer = jose.NewES256Signer(jose.GenerateES256(), "JWT")
	set, err := jose.NewKeySet(co.signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) }))
	t.Cleanup(cluster.Close)
	co.issuer = cluster.URL
	co.settle(t)
	return co
}

// settle brings the company's files in and enrols its points and sources.
func (co *company) settle(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var accounts []string
	for _, a := range co.Accounts {
		accounts = append(accounts, a.ID)
		if _, err := co.api.ImportAWS(ctx, co.details(t, co.World, a.ID)); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range map[string][]byte{"resources.yaml": co.Resources(), "routes.yaml": co.Routes(), "trust.yaml": co.Trust(co.issuer, co.issuer+"/jwks")} {
		if err := co.api.Do(ctx, http.MethodPut, "/v1/documents/"+name, "text/plain", bytes.NewReader(body), nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	co.logs = co.source(t, client.AddSource{Name: "trail", Format: "cloudtrail", Accounts: accounts})
	co.scanner = co.source(t, client.AddSource{Name: "scanner", Format: "scanner"})
	co.texts = co.source(t, client.AddSource{Name: "forum", Format: "text"})
	co.edge = co.point(t, "edge", "nginx")
	co.asking = co.point(t, "asking", "authzen")
}

func (co *company) source(t *testing.T, ask client.AddSource) *client.Client {
	t.Helper()
	var made client.Enrolled
	if err := co.api.Send(t.Context(), http.MethodPost, "/v1/sources", ask, &made); err != nil {
		t.Fatal(err)
	}
	return co.child.as(t, made.Key)
}

func (co *company) point(t *testing.T, name, dialect string) string {
	t.Helper()
	var made client.Enrolled
	if err := co.api.Send(t.Context(), http.MethodPost, "/v1/points", client.EnrollPoint{Name: name, Dialect: dialect}, &made); err != nil {
		t.Fatal(err)
	}
	mode := "enforce"
	if err := co.api.Send(t.Context(), http.MethodPatch, "/v1/points/"+made.ID, client.SetPoint{Mode: &mode}, nil); err != nil {
		t.Fatal(err)
	}
	return made.Key
}

// details are the export files of one account.
func (co *company) details(t *testing.T, w *world.World, account string) map[string]io.Reader {
	t.Helper()
	files := map[string]io.Reader{}
	for name, write := range map[string]func(io.Writer, string) error{"authorization-details": w.Details, "access-keys": w.AccessKeys, "credential-report": w.Report} {
		var b bytes.Buffer
		if err := write(&b, account); err != nil {
			t.Fatal(err)
		}
		files[name] = &b
	}
	return files
}

// key makes a new key of a workload.
func (co *company) key(ctx context.Context, wl *world.Workload) (client.NewCredential, error) {
	var made client.NewCredential
	err := co.api.Send(ctx, http.MethodPost, "/v1/identities/"+string(wl.Identity)+"/credentials", client.CreateCredential{}, &made)
	return made, err
}

// A token is bound to the key of its prover.
type token struct {
	value  string
	prover *jose.Prover
}

// exchange gets a token for a workload (RFC 8693, RFC 9449).
func (co *company) exchange(ctx context.Context, wl *world.Workload) (token, error) {
	subject, err := co.signer.Sign(co.Claims(wl, co.issuer, time.Now()))
	if err != nil {
		return token{}, err
	}
	tok := token{prover: jose.NewProver(jose.GenerateES256())}
	endpoint := co.child.url + "/oauth2/token"
	proof, err := tok.prover.Proof(http.MethodPost, endpoint, "")
	if err != nil {
		return token{}, err
	}
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("DPoP", proof)
	res, err := co.http.Do(req)
	if err != nil {
		return token{}, err
	}
	defer res.Body.Close()
	var reply struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
		return token{}, err
	}
	if reply.Token == "" {
		return token{}, fmt.Errorf("exchange refused: %s", reply.Error)
	}
	tok.value = reply.Token
	return tok, nil
}

// ask asks forward-auth as nginx does, and returns the status and the id of
// the decision. more are further header fields.
func (co *company) ask(ctx context.Context, from world.Network, agent string, route world.Route, target string, more map[string]string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, co.child.url+"/enforce/forward-auth", nil)
	if err != nil {
		return 0, "", err
	}
	for k, v := range map[string]string{
		"Muster-Point-Authorization": "Bearer " + co.edge, "X-Original-Method": route.Method, "X-Original-URI": target,
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": route.Host, "X-Forwarded-For": from.Address.String(), "User-Agent": agent,
	} {
		req.Header.Set(k, v)
	}
	for k, v := range more {
		req.Header.Set(k, v)
	}
	res, err := co.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Muster-Decision"), err
}

// askBound is ask with a token and its proof.
func (co *company) askBound(ctx context.Context, wl *world.Workload, tok token, route world.Route, target string) (int, string, error) {
	proof, err := tok.prover.Proof(route.Method, "https://"+route.Host+target, tok.value)
	if err != nil {
		return 0, "", err
	}
	return co.ask(ctx, wl.Home, wl.Agent, route, target, map[string]string{"Authorization": "DPoP " + tok.value, "DPoP": proof})
}
