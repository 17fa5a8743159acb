package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/muster-id/muster/internal/jose"
)

const (
	fetchTimeout = 5 * time.Second
	keysFresh    = 10 * time.Minute // keys are fetched again after this
	keysStale    = 24 * time.Hour   // keys are still good when the issuer cannot be reached
	retryAfter   = 30 * time.Second // between fetches for a kid nobody knows, or after a failure
)

// errNoKeys means that an issuer's keys are not at hand and could not be fetched.
var errNoKeys = errors.New("keys of the issuer are not available")

// An issuerKeys keeps the keys of one issuer. One fetch is in flight at most;
// no lock is held meanwhile, and whoever needs the keys waits for it or for
// its own context.
type issuerKeys struct {
	issuer, jwksURI string
	client          *http.Client

	mu      sync.Mutex // guards the rest
	set     *jose.KeySet
	fetched time.Time // of set
	tried   time.Time // last fetch, good or bad
	failure error     // of the last fetch, nil when it was good
	flight  chan struct{}
}

// keysFor returns keys that hold kid, fetching them when they are old or do
// not. An unknown kid causes a fetch at most every retryAfter, so that made-up
// tokens cannot make us hammer an issuer.
func (k *issuerKeys) keysFor(ctx context.Context, kid, alg string, now time.Time) (*jose.KeySet, error) {
	for {
		set, flight, mine, err := k.look(kid, alg, now)
		switch {
		case err != nil || set != nil:
			return set, err
		case mine:
			k.fetch(ctx, now, flight)
			continue
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errNoKeys, ctx.Err())
		}
	}
}

// look returns keys that will do, or an error, or a flight to wait for. When
// the flight is mine, the caller must fetch.
func (k *issuerKeys) look(kid, alg string, now time.Time) (set *jose.KeySet, flight chan struct{}, mine bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usable := k.set != nil && now.Sub(k.fetched) < keysStale
	due := now.Sub(k.tried) >= retryAfter
	known := false
	if usable {
		_, known = k.set.Key(kid, alg)
	}
	switch {
	case known && (now.Sub(k.fetched) < keysFresh || k.flight != nil || !due):
		return k.set, nil, false, nil
	case k.flight != nil:
		return nil, k.flight, false, nil
	case due:
		k.flight, k.tried = make(chan struct{}), now
		return nil, k.flight, true, nil
	case usable:
		return k.set, nil, false, nil
	default:
		return nil, nil, false, errNoKeys
	}
}

// fetch gets the keys and ends the flight. The fetch belongs to everybody who
// waits, so one caller's departure does not end it; its own timeout does.
func (k *issuerKeys) fetch(ctx context.Context, now time.Time, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	set, err := k.download(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.set, k.fetched = set, now
	}
	k.failure = err
	k.flight = nil
	close(flight)
}

func (k *issuerKeys) download(ctx context.Context) (*jose.KeySet, error) {
	uri := k.jwksURI
	if uri == "" {
		var err error
		if uri, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	body, err := k.get(ctx, uri)
	if err != nil {
		return nil, err
	}
	set, err := jose.ParseJWKS(body)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", k.issuer, err)
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("keys of %s: none is usable", k.issuer)
	}
	return set, nil
}

// discover finds where the keys are (OpenID Connect Discovery 1.0, section 4).
func (k *issuerKeys) discover(ctx context.Context) (string, error) {
	body, err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return "", fmt.Errorf("discovery of %s: not the JSON it should be", k.issuer)
	}
	if document.Issuer != k.issuer {
		return "", fmt.Errorf("discovery of %s: it calls itself something else", k.issuer)
	}
	if err := checkURL(document.JWKSURI); err != nil {
		return "", fmt.Errorf("discovery of %s: jwks_uri %w", k.issuer, err)
	}
	return document.JWKSURI, nil
}

// get reads one bounded document. Redirects are answers like any other: wrong.
func (k *issuerKeys) get(ctx context.Context, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", k.issuer, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", k.issuer, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch from %s: status %d", k.issuer, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, jose.MaxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", k.issuer, err)
	}
	if len(body) > jose.MaxJWKS {
		return nil, fmt.Errorf("fetch from %s: over %d bytes", k.issuer, jose.MaxJWKS)
	}
	return body, nil
}

// newClient returns a client that follows no redirect and, unless the issuer
// itself is on loopback, connects to no address that only this host can reach:
// an issuer must not make us read the metadata service of our own cloud.
func newClient(loopback bool, base *http.Transport) *http.Client {
	transport := base.Clone()
	dialer := &net.Dialer{Timeout: fetchTimeout}
	if !loopback {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("connect to %s: not an address", address)
			}
			if a := to.Addr().Unmap(); a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
				return errors.New("connect: the issuer resolves to an address of this host")
			}
			return nil
		}
	}
	transport.DialContext = dialer.DialContext
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport:     transport,
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
