package config

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify/email"
	"github.com/muster-id/muster/internal/notify/slack"
	"github.com/muster-id/muster/internal/notify/webhook"
)

// A Receiver is one channel of notices: a webhook, when url is set, or mail or
// Slack, when their section is.
type Receiver struct {
	webhook.Settings `yaml:",inline"`
	// Email sends mail to people.
	Email email.Settings `yaml:"email"`
	// Slack posts to a channel of Slack.
	Slack slack.Settings `yaml:"slack"`
}

// The kinds of receivers.
const (
	KindWebhook = "webhook"
	KindEmail   = "email"
	KindSlack   = "slack"
)

// Kind says which channel it is; empty when that is not clear.
func (r *Receiver) Kind() string {
	var kinds []string
	if r.URL != "" || r.SecretFile != "" {
		kinds = append(kinds, KindWebhook)
	}
	if !reflect.ValueOf(r.Email).IsZero() {
		kinds = append(kinds, KindEmail)
	}
	if r.Slack != (slack.Settings{}) {
		kinds = append(kinds, KindSlack)
	}
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

func (r *Receiver) check() error {
	switch r.Severity {
	case "", nhi.Info, nhi.Low, nhi.Medium, nhi.High, nhi.Critical:
	default:
		return nhi.Invalidf("severity %q: want info, low, medium, high or critical", r.Severity)
	}
	switch r.Kind() {
	case KindWebhook:
		if r.URL == "" || r.SecretFile == "" {
			return nhi.Invalidf("(%s): url and secret_file are needed", r.Name)
		}
		return r.Validate()
	case KindEmail:
		return r.Email.Validate()
	case KindSlack:
		return r.Slack.Validate()
	}
	return nhi.Invalidf("(%s): want one of url with secret_file (a webhook), email and slack", r.Name)
}

func (c *Config) checkNotify() error {
	seen := map[string]bool{}
	for i := range c.Notify {
		r := &c.Notify[i]
		if r.Name == "" || seen[r.Name] {
			return nhi.Invalidf("notify[%d]: every receiver needs a name of its own", i)
		}
		seen[r.Name] = true
		if len(r.Name) > 64 || strings.ContainsFunc(r.Name, func(c rune) bool { return c == '/' || !unicode.IsPrint(c) }) {
			return nhi.Invalidf("notify[%d].name: want at most 64 characters that can be seen, without a slash", i)
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("notify[%d]: %w", i, err)
		}
	}
	return nil
}
