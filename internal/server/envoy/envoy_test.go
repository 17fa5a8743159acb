package envoy

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/enforce/extauthz"
	"github.com/muster-id/muster/internal/health"
)

func TestOffIsNoListener(t *testing.T) {
	for _, word := range []string{"", config.Off} {
		l, err := Listen(t.Context(), &config.Config{ExtAuthzListen: word})
		if l != nil || err != nil || l.Addr() != "" || l.Serve() != nil || l.Close() != nil || l.Check() != nil {
			t.Errorf("%q: %v, %v", word, l, err)
		}
		l.Answer(extauthz.New(extauthz.Config{}), nil)
		l.Stop(t.Context())
	}
}

func TestAChosenAddressMustBeFree(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(t.Context(), &config.Config{ExtAuthzListen: other.Addr().String()}); err == nil || !strings.Contains(err.Error(), other.Addr().String()) {
		t.Errorf("Listen on a taken address: %v", err)
	}
}

// The default address may be free here or not, and both are right: either the
// test takes it, or somebody has it already.
func TestTheDefaultAddressMayBeTakenAndTheStateSaysSo(t *testing.T) {
	if other, err := net.Listen("tcp", config.DefaultExtAuthz); err == nil {
		defer other.Close()
	}
	l, err := Listen(t.Context(), &config.Config{ExtAuthzListen: config.DefaultExtAuthz})
	if err != nil {
		t.Fatal(err)
	}
	l.Answer(extauthz.New(extauthz.Config{}), nil)
	state := l.Check()[0].State(t.Context())
	if l.Addr() != "" || state.Level != health.LevelDegraded || !strings.Contains(state.Cure, "ext_authz_listen") || l.Serve() != nil {
		t.Errorf("at %q: %+v", l.Addr(), state)
	}
	l.Stop(t.Context())
}

func TestItAnswersUntilItIsStopped(t *testing.T) {
	l, err := Listen(t.Context(), &config.Config{ExtAuthzListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	l.Answer(extauthz.New(extauthz.Config{}), nil)
	ended := make(chan error)
	go func() { ended <- l.Serve() }()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if state := l.Check()[0].State(t.Context()); state.Level != health.LevelOK {
		t.Errorf("%+v", state)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Stop(ctx)
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
