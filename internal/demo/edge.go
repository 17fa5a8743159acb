package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/world"
)

// An edge is the company's reverse proxy. It asks forward-auth about each
// request as nginx does with auth_request: a sub-request without the body,
// 2xx lets pass, 401 and 403 are given to the caller, anything else is an
// error of the edge and lets nothing pass.
//
// Each simulated network has a listener of its own on loopback; whoever
// connects there calls from that network's address. The edge tells the point
// that address, and nothing that the caller wrote about itself.
type edge struct {
	point    string // key of the enforcement point
	auth     string // URL of forward-auth
	upstream *upstream
	asking   *http.Client
	proxy    *httputil.ReverseProxy

	mu    sync.Mutex              // guards what follows
	doors map[string]*http.Server // by address
	urls  map[string]string
}

func newEdge(server, point string, up *upstream) (*edge, error) {
	target, err := url.Parse(up.url)
	if err != nil {
		return nil, fmt.Errorf("upstream address: %w", err)
	}
	e := &edge{
		point: point, auth: server + "/enforce/forward-auth", upstream: up,
		asking: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		doors:  map[string]*http.Server{}, urls: map[string]string{},
	}
	e.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.Out.Header.Del("Authorization") // the upstream has no use for a caller's secret
			p.Out.Header.Del("Muster-Attestation")
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	return e, nil
}

// door returns the URL where callers of network n connect, opening a listener
// the first time.
func (e *edge) door(n world.Network) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	address := n.Address.String()
	if u, ok := e.urls[address]; ok {
		return u, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open the edge for %s: %w", address, err)
	}
	srv := &http.Server{Handler: e.handler(address), ReadHeaderTimeout: 10 * time.Second}
	e.doors[address], e.urls[address] = srv, "http://"+l.Addr().String()
	go func() { _ = srv.Serve(l) }() // ends with Close
	return e.urls[address], nil
}

// close shuts every door.
func (e *edge) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.doors {
		_ = d.Close()
	}
	e.asking.CloseIdleConnections()
}

func (e *edge) handler(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := e.ask(r, address)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is used again
		switch {
		case res.StatusCode/100 == 2:
			e.proxy.ServeHTTP(w, r)
		case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
			for _, h := range []string{"WWW-Authenticate", "Muster-Decision"} {
				if v := res.Header.Get(h); v != "" {
					w.Header().Set(h, v)
				}
			}
			w.WriteHeader(res.StatusCode)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
}

// ask sends the sub-request with nginx's header dialect.
func (e *edge) ask(r *http.Request, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, e.auth, nil)
	if err != nil {
		return nil, err
	}
	for _, h := range []string{"Authorization", "DPoP", "Muster-Attestation", "User-Agent"} {
		if v := r.Header.Values(h); len(v) > 0 {
			req.Header[http.CanonicalHeaderKey(h)] = v
		}
	}
	req.Header.Set("Muster-Point-Authorization", "Bearer "+e.point)
	req.Header.Set("X-Original-Method", r.Method)
	req.Header.Set("X-Original-URI", r.RequestURI)
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Forwarded-Host", r.Host)
	req.Header.Set("X-Forwarded-For", address)
	return e.asking.Do(req)
}

// An upstream is the company's own service. It counts what reaches it, by who
// says to have sent it: the one number in the story that nobody can argue with.
type upstream struct {
	url    string
	server *http.Server
	total  atomic.Int64
	mu     sync.Mutex // guards counts
	counts map[string]int
}

// actorHeader names the caller to the upstream. The point never sees it.
const actorHeader = "X-Story-Actor"

func newUpstream() (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the upstream: %w", err)
	}
	u := &upstream{url: "http://" + l.Addr().String(), counts: map[string]int{}}
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = u.server.Serve(l) }() // ends with close
	return u, nil
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.total.Add(1)
	if who := r.Header.Get(actorHeader); who != "" {
		u.mu.Lock()
		u.counts[who]++
		u.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{\"ok\":true}\n")
}

// reached returns how many requests of an actor came through, and forgets it.
func (u *upstream) reached(who string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.counts[who]
	delete(u.counts, who)
	return n
}

// peek is reached without forgetting.
func (u *upstream) peek(who string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.counts[who]
}

func (u *upstream) close() { _ = u.server.Close() }

// wait blocks until an address answers, or ctx ends.
func wait(ctx context.Context, url string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for %s: %w", url, ctx.Err()), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
