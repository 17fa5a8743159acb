package awskms

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/seal"
)

type credentials struct{ id, secret, session string }

// readCredentials reads one section of a file in the form of
// ~/.aws/credentials, anew for each call: short-lived keys are replaced there.
func readCredentials(path, profile string) (credentials, error) {
	text, err := seal.ReadSecret(path, 64<<10)
	if err != nil {
		return credentials{}, fmt.Errorf("aws_kms: credentials: %w", err)
	}
	defer clear(text)
	if profile == "" {
		profile = "default"
	}
	var c credentials
	here := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			here = strings.TrimSpace(line[1:len(line)-1]) == profile
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !here || !ok {
			continue
		}
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			c.id = value
		case "aws_secret_access_key":
			c.secret = value
		case "aws_session_token":
			c.session = value
		}
	}
	if c.id == "" || c.secret == "" {
		return credentials{}, fmt.Errorf("aws_kms: credentials: %s has no aws_access_key_id and aws_secret_access_key under [%s]", path, profile)
	}
	return c, nil
}

// sign adds Signature Version 4 to a request without a query.
func sign(r *http.Request, body []byte, who credentials, region, service string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", stamp)
	if who.session != "" {
		r.Header.Set("X-Amz-Security-Token", who.session)
	}
	names, canonical := headers(r)
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	request := strings.Join([]string{r.Method, path, "", canonical, names, digest(body)}, "\n")
	scope := strings.Join([]string{stamp[:8], region, service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, digest([]byte(request))}, "\n")
	key := []byte("AWS4" + who.secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", who.id, scope, names, hex.EncodeToString(mac(key, text))))
}

// headers returns the names and the canonical lines of what is signed.
func headers(r *http.Request) (names, lines string) {
	all := map[string]string{"host": r.URL.Host}
	for name, values := range r.Header {
		if lower := strings.ToLower(name); lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			all[lower] = strings.TrimSpace(strings.Join(values, ","))
		}
	}
	keys := make([]string, 0, len(all))
	for name := range all {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, name := range keys {
		b.WriteString(name + ":" + all[name] + "\n")
	}
	return strings.Join(keys, ";"), b.String()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
