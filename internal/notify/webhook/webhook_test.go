package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

// The example of the Standard Webhooks specification, 1.0.0.
func TestSignatureAgreesWithTheStandardsExample(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func secretText() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte("only a test, thirty-two bytes!!!"))
}

func TestTheReceiverCanCheckWhatItGets(t *testing.T) {
	var problems []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := "v1," + Sign([]byte("only a test, thirty-two bytes!!!"), r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
		if r.Header.Get("webhook-signature") != want {
			problems = append(problems, "signature does not fit the body")
		}
		if r.Header.Get("webhook-id") != "n1" {
			problems = append(problems, "id is "+r.Header.Get("webhook-id"))
		}
	}))
	defer srv.Close()
	h, err := New(Settings{Name: "ops", URL: srv.URL}, secretText())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Send(context.Background(), nhi.Notice{ID: "n1", Topic: "finding.created", At: time.Unix(1, 0), Data: []byte(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func TestAReceiverThatIsGoneIsLeftAlone(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	defer srv.Close()
	h, err := New(Settings{Name: "ops", URL: srv.URL}, secretText())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Send(context.Background(), nhi.Notice{ID: "n1"}); !errors.Is(err, notify.ErrGone) {
		t.Errorf("Send = %v, want ErrGone", err)
	}
}

func TestARedirectDoesNotCarryTheNoticeElsewhere(t *testing.T) {
	var reached bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	h, err := New(Settings{Name: "ops", URL: srv.URL}, secretText())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Send(context.Background(), nhi.Notice{ID: "n1"}); err == nil || reached {
		t.Errorf("Send = %v, other receiver reached: %v", err, reached)
	}
}

func TestAFailureDoesNotTellTheReceiversAddress(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there any more
	h, err := New(Settings{Name: "ops", URL: srv.URL + "/services/T0/secret-path"}, secretText())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Send(context.Background(), nhi.Notice{ID: "n1"}); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("Send = %v, want an error without the path", err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, url, secret string }{
		{"plain HTTP to another machine", "http://hooks.example.com/x", secretText()},
		{"credentials in the URL", "https://u:p@hooks.example.com/x", secretText()},
		{"no host", "https:///x", secretText()},
		{"secret without its prefix", "https://hooks.example.com/x", "AAAA"},
		{"secret too short", "https://hooks.example.com/x", "whsec_AAAA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(Settings{Name: "ops", URL: tt.url}, tt.secret); !errors.Is(err, nhi.ErrInvalid) {
				t.Errorf("New = %v, want ErrInvalid", err)
			}
		})
	}
}
