package issuer_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
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
		w := newWorld(b, nil)
		handler := w.Handler()
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer() // the client makes proof and subject token
			r := w.request(b, nil)
			b.StartTimer()
			rec := httptest.NewRecorder()
			if handler.ServeHTTP(rec, r); rec.Code != http.StatusOK {
				b.Fatal(rec.Code)
			}
		}
	})
}
