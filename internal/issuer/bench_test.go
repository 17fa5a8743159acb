package issuer_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/issuer/jwt"
	"github.com/muster-id/muster/internal/jose"
)

// The yardstick and what is measured by it run in one process: compare the
// figures of one run only.
func BenchmarkIssue(b *testing.B) {
	b.Run("raw ES256 signature", func(b *testing.B) {
		key, digest := jose.GenerateES256(), sha256.Sum256([]byte("x"))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mint", func(b *testing.B) {
		now := time.Now()
		g := issuer.Grant{Issuer: home, Subject: "spiffe://muster.example/nhi/" + string(robot), Identity: robot, Environment: "prod", Rule: "robot", Method: "oidc",
			Audience: home, JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", ID: "AAAAAAAAAAAAAAAAAAAAAA", IssuedAt: now, NotBefore: now, Expires: now.Add(5 * time.Minute)}
		signer := jose.NewES256Signer(jose.GenerateES256(), jwt.Format.Typ)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jwt.Format.Mint(signer, &g); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("exchange", func(b *testing.B) {
		// The client's work, proof and subject token, is done in batches and not
		// counted. A workload shows one subject token many times.
		w := newWorld(b, nil)
		handler, subject := w.Handler(), w.subject(b, nil)
		var ready []*http.Request
		b.ReportAllocs()
		for b.Loop() {
			if len(ready) == 0 {
				b.StopTimer()
				for range 512 {
					ready = append(ready, w.request(b, func(f url.Values, _ http.Header) { f.Set("subject_token", subject) }))
				}
				b.StartTimer()
			}
			r := ready[len(ready)-1]
			ready = ready[:len(ready)-1]
			rec := httptest.NewRecorder()
			if handler.ServeHTTP(rec, r); rec.Code != http.StatusOK {
				b.Fatal(rec.Code)
			}
		}
	})
}
