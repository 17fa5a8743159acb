// Package notice makes the channels of notices from the configuration, and says
// how each does: to people who ask, who may also have a test sent, and among the
// checks of the process. What a channel sends and when is the router's affair,
// in package notify.
package notice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/notify/email"
	"github.com/muster-id/muster/internal/notify/slack"
	"github.com/muster-id/muster/internal/notify/webhook"
)

// maxFile is more than any file of a channel needs.
const maxFile = 1 << 20

// Routes makes a route for each receiver, reading its files. console is the
// address that links lead to, without a slash at its end.
func Routes(receivers []config.Receiver, console string) ([]notify.Route, error) {
	routes := make([]notify.Route, 0, len(receivers))
	for i := range receivers {
		r := &receivers[i]
		c, err := channel(r, console)
		if err != nil {
			return nil, fmt.Errorf("notify[%d] (%s): %w", i, r.Name, err)
		}
		routes = append(routes, notify.Route{Channel: c, Least: r.Severity})
	}
	return routes, nil
}

func channel(r *config.Receiver, console string) (notify.Channel, error) {
	switch r.Kind() {
	case config.KindEmail:
		var files email.Files
		var err error
		if files.Password, err = read(r.Email.PasswordFile, "email.password_file"); err != nil {
			return nil, err
		}
		defer clear(files.Password)
		if files.CA, err = read(r.Email.CAFile, "email.ca_file"); err != nil {
			return nil, err
		}
		return email.New(r.Name, r.Email, files, console)
	case config.KindSlack:
		return room(r, console)
	}
	secret, err := read(r.SecretFile, "secret_file")
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return webhook.New(r.Settings, string(secret))
}

// room makes a channel of Slack.
func room(r *config.Receiver, console string) (notify.Channel, error) {
	var files slack.Files
	for _, f := range []struct {
		to        *[]byte
		file, key string
	}{
		{&files.URL, r.Slack.URLFile, "slack.url_file"},
		{&files.SigningSecret, r.Slack.SigningSecretFile, "slack.signing_secret_file"},
		{&files.Token, r.Slack.TokenFile, "slack.token_file"},
	} {
		var err error
		if *f.to, err = read(f.file, f.key); err != nil {
			return nil, err
		}
		defer clear(*f.to)
	}
	return slack.New(r.Name, r.Slack, files, console)
}

// read returns what is in the file of a key; nothing when the key is not set.
func read(file, key string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s is %d bytes, which is more than such a file holds", file, info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}

// A Desk answers for the channels of a router.
type Desk struct{ Router *notify.Router }

// Channels tells how each channel does, by kind and name.
func (d Desk) Channels(context.Context) ([]client.Channel, error) {
	states := d.Router.States()
	out := make([]client.Channel, 0, len(states))
	for _, s := range states {
		kind, name, _ := strings.Cut(s.Channel, ":")
		c := client.Channel{Name: name, Kind: kind, Severity: string(s.Least), Sent: s.Sent, Refused: s.Refused, Error: s.Error}
		if !s.LastOK.IsZero() {
			at := s.LastOK.UTC()
			c.LastSent = &at
		}
		if !s.Failing.IsZero() {
			at := s.Failing.UTC()
			c.FailingSince = &at
		}
		out = append(out, c)
	}
	return out, nil
}

// patience is how long a test waits for the receiver.
const patience = 25 * time.Second

// Test sends a test notice by the channel of a name and tells what the receiver
// said. It wraps nhi.ErrNotFound when there is none.
func (d Desk) Test(ctx context.Context, by, name string) (client.ChannelTest, error) {
	for _, s := range d.Router.States() {
		if _, called, _ := strings.Cut(s.Channel, ":"); called != name {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := d.Router.Test(ctx, s.Channel, by)
		switch {
		case err == nil:
			return client.ChannelTest{Channel: s.Channel, Delivered: true}, nil
		case errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("the receiver did not answer within %v", patience)
		}
		return client.ChannelTest{Channel: s.Channel, Error: fmt.Sprintf("%.300s", err)}, nil
	}
	return client.ChannelTest{}, fmt.Errorf("channel %.80q is not configured (muster notify list names those that are): %w", name, nhi.ErrNotFound)
}

// State is the line of the channels among the health checks: degraded while one
// of them does not get through.
func (d Desk) State(context.Context) health.State {
	var failing []string
	refused := uint64(0)
	for _, s := range d.Router.States() {
		if !s.Failing.IsZero() {
			failing = append(failing, fmt.Sprintf("%s since %s (%s)", s.Channel, s.Failing.UTC().Format(time.RFC3339), s.Error))
		}
		refused += s.Refused
	}
	if len(failing) == 0 {
		return health.OK()
	}
	why := "people are not told by " + strings.Join(failing, ", ")
	if refused > 0 {
		why += fmt.Sprintf("; %d notices were refused for good since the start", refused)
	}
	return health.Degraded(why, "mend the receiver or its entry in notify, then muster notify test NAME; what waits is tried for three days")
}
