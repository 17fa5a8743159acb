package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/world"
)

// A cluster is the company's OIDC issuer: it signs who its workloads are, as
// Kubernetes signs the tokens of service accounts.
type cluster struct {
	signer *jose.Signer
	server *http.Server
	issuer string // URL
	jwks   string // URL of its keys
}

func newCluster() (*cluster, error) {
	c := &cluster{signer: jose.NewES256Signer(jose.GenerateES256(), "JWT")}
	set, err := jose.NewKeySet(c.signer.Key())
	if err != nil {
		return nil, fmt.Errorf("publish the cluster's key: %w", err)
	}
	keys, err := set.Marshal()
	if err != nil {
		return nil, fmt.Errorf("publish the cluster's key: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the cluster's issuer: %w", err)
	}
	c.issuer = "http://" + l.Addr().String()
	c.jwks = c.issuer + "/openid/v1/jwks"
	c.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(keys)
	})}
	go func() { _ = c.server.Serve(l) }() // ends with close
	return c, nil
}

func (c *cluster) close() { _ = c.server.Close() }

// A caller is a workload as its own program sees the world: it holds a static
// key, and when that is refused it exchanges what its cluster says of it for a
// token bound to a key of its own, and goes on with that.
type caller struct {
	name    string // for the upstream's count
	who     *world.Workload
	cluster *cluster
	world   *world.World
	server  string // base URL of Muster
	key     string
	agent   string
	prover  *jose.Prover
	http    *http.Client

	mu      sync.Mutex // guards what follows
	token   string
	expires time.Time
	moved   bool // it uses tokens from now on
}

func newCaller(name string, wl *world.Workload, w *world.World, c *cluster, server, key string) *caller {
	return &caller{
		name: name, who: wl, cluster: c, world: w, server: server, key: key, agent: wl.Agent,
		prover: jose.NewProver(jose.GenerateES256()),
		http:   &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
}

// A result is how one request of a caller ended.
type result struct {
	status    int
	exchanged bool          // it took an exchange to get through
	recovered time.Duration // from the refusal to the success; 0 when not refused
}

func (r result) ok() bool { return r.status/100 == 2 }

// do makes one request from a network. A refusal makes the caller exchange
// and try again, once.
func (c *caller) do(ctx context.Context, door string, route world.Route, target string) (result, error) {
	token, err := c.current(ctx)
	if err != nil {
		return result{status: http.StatusForbidden}, err
	}
	if status, err := c.send(ctx, door, route, target, token); err != nil || status/100 == 2 {
		return result{status: status}, err
	}
	refused := time.Now()
	if token, err = c.exchange(ctx); err != nil {
		return result{status: http.StatusForbidden}, err
	}
	status, err := c.send(ctx, door, route, target, token)
	return result{status: status, exchanged: true, recovered: time.Since(refused)}, err
}

// current returns the token to use, "" as long as the caller still lives by
// its static key. Who has moved to tokens renews them and never goes back.
func (c *caller) current(ctx context.Context) (string, error) {
	c.mu.Lock()
	token, moved, fresh := c.token, c.moved, time.Now().Before(c.expires)
	c.mu.Unlock()
	if moved && !fresh {
		return c.exchange(ctx)
	}
	return token, nil
}

func (c *caller) send(ctx context.Context, door string, route world.Route, target, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, route.Method, door+target, nil)
	if err != nil {
		return 0, err
	}
	req.Host = route.Host
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set(actorHeader, c.name)
	if token == "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	} else {
		proof, err := c.prover.Proof(route.Method, "https://"+route.Host+target, token)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "DPoP "+token)
		req.Header.Set("DPoP", proof)
	}
	return send(c.http, req)
}

// exchange is RFC 8693 with the cluster's token, bound to the caller's key
// (RFC 9449).
func (c *caller) exchange(ctx context.Context) (string, error) {
	subject, err := c.cluster.signer.Sign(c.world.Claims(c.who, c.cluster.issuer, time.Now()))
	if err != nil {
		return "", fmt.Errorf("sign the cluster's token: %w", err)
	}
	endpoint := c.server + "/oauth2/token"
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	proof, err := c.prover.Proof(http.MethodPost, endpoint, "")
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("DPoP", proof)
	res, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("exchange: %w", err)
	}
	defer res.Body.Close()
	var reply struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&reply); err != nil {
		return "", fmt.Errorf("exchange: read the reply (%s): %w", res.Status, err)
	}
	if reply.AccessToken == "" {
		return "", fmt.Errorf("exchange refused: %s: %s", reply.Error, reply.Description)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.moved = reply.AccessToken, true
	c.expires = time.Now().Add(time.Duration(reply.ExpiresIn)*time.Second - 20*time.Second)
	return c.token, nil
}

// steal makes one request with a stolen key.
func steal(ctx context.Context, client *http.Client, door, key, name, agent string, route world.Route, target string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, route.Method, door+target, nil)
	if err != nil {
		return 0, err
	}
	req.Host = route.Host
	req.Header.Set("User-Agent", agent)
	req.Header.Set(actorHeader, name)
	req.Header.Set("Authorization", "Bearer "+key)
	return send(client, req)
}

func send(client *http.Client, req *http.Request) (int, error) {
	res, err := client.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return 0, context.Canceled
		}
		return 0, fmt.Errorf("call %s: %w", req.Host, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, nil
}
