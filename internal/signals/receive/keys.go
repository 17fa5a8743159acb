package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/signals"
)

const (
	keysFresh  = 10 * time.Minute
	keysStale  = 24 * time.Hour
	retryAfter = 30 * time.Second // between fetches for a kid that nobody knows
	fetchLimit = 10 * time.Second
)

// keys are those that a peer publishes. A kid that is not among them causes a
// fetch, but at most one each retryAfter: made-up SETs must not make us hammer
// the peer. Keys that were fetched are good for a day while the peer is away.
type keys struct {
	issuer, uri string
	client      *http.Client
	reach       signals.Reach

	mu      sync.Mutex // held while fetching: there is one fetch at a time
	set     *jose.KeySet
	fetched time.Time
	tried   time.Time
	failure error
}

// of returns the keys to verify a SET with. The error is one to try again.
func (k *keys) of(ctx context.Context, set string, now time.Time) (*jose.KeySet, error) {
	peek, err := jose.Peek(set)
	if err != nil {
		return nil, signals.Refuse(signals.CodeRequest, "it is no well-formed security event token")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	usable := k.set != nil && now.Sub(k.fetched) < keysStale
	known := false
	if usable {
		_, known = k.set.Key(peek.Header.Kid, peek.Header.Alg)
	}
	due := now.Sub(k.tried) >= retryAfter
	if (!known || now.Sub(k.fetched) >= keysFresh) && due {
		k.tried = now
		fresh, err := k.fetch(ctx)
		k.failure = err
		if err == nil {
			k.set, k.fetched, usable = fresh, now, true
		}
	}
	if !usable {
		if k.failure != nil {
			return nil, fmt.Errorf("keys of %s: %w", k.issuer, k.failure)
		}
		return nil, fmt.Errorf("keys of %s are not at hand", k.issuer)
	}
	return k.set, nil
}

func (k *keys) fetch(ctx context.Context) (*jose.KeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	uri := k.uri
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
	if err == nil && set.Len() == 0 {
		err = errors.New("none is usable")
	}
	return set, err
}

// discover finds where the keys are (SSF 1.0, section 7.2).
func (k *keys) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(k.issuer)
	if err != nil {
		return "", errors.New("the issuer is no URL")
	}
	u.Path = signals.MetadataPath + strings.TrimSuffix(u.Path, "/")
	body, err := k.get(ctx, u.String())
	if err != nil {
		return "", err
	}
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	switch {
	case json.Unmarshal(body, &metadata) != nil:
		return "", errors.New("its metadata is not the JSON that it should be")
	case metadata.Issuer != k.issuer:
		return "", errors.New("its metadata names another issuer")
	}
	if err := k.reach.Check(metadata.Keys); err != nil {
		return "", fmt.Errorf("its metadata: jwks_uri: %w", err)
	}
	return metadata.Keys, nil
}

func (k *keys) get(ctx context.Context, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, errors.New("no URL")
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, signals.Plain(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d", res.StatusCode)
	}
	body, err := signals.Read(res.Body, jose.MaxJWKS)
	if err != nil {
		return nil, fmt.Errorf("its answer is over %d bytes, or ended badly", jose.MaxJWKS)
	}
	return body, nil
}
