package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/key"
)

func TestALogLineCannotHoldASecret(t *testing.T) {
	for _, json := range []bool{true, false} {
		var out bytes.Buffer
		h, err := NewLogHandler(&out, slog.LevelDebug, json)
		if err != nil {
			t.Fatal(err)
		}
		secret := key.Mint(key.API).Reveal()
		log := slog.New(h).With("with", secret).WithGroup("group")
		log.Info("message "+secret, "text", secret, "error", fmt.Errorf("call with %s: %w", secret, errors.New("refused")),
			"bytes", []byte(secret), "any", struct{ Key string }{secret}, slog.Group("deep", "key", secret))
		log.Debug("url", "url", "https://x.example/?k="+secret)
		if strings.Contains(out.String(), secret) {
			t.Errorf("json=%v: the secret is in the log:\n%s", json, strings.ReplaceAll(out.String(), secret, "<<SECRET>>"))
		}
		if !strings.Contains(out.String(), "refused") {
			t.Errorf("json=%v: the rest of the line is gone: %s", json, out.String())
		}
	}
}
