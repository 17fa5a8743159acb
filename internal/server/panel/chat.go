package panel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/notify/slack"
)

// ChatPath is where Slack sends what people press; the name of the receiver
// follows.
const ChatPath = "/chat/slack/"

const (
	// patience is how long an answer may take: Slack waits for three seconds.
	patience = 2500 * time.Millisecond
	// goodFor is how long after their last sign-in people may answer in a chat, as
	// long as a session of the console lasts: whom the provider lets go must not
	// go on answering elsewhere.
	goodFor = 12 * time.Hour
	// atOnce bounds what is under way of what Slack signed: who sends something
	// else, however slowly, takes no place of it.
	atOnce = 16
)

// Chat takes answers that people give in Slack. An account there is nobody: what
// counts is the person of the organisation's provider who has the address that
// Slack knows the account by. From there on everything is as if they had answered
// in the console.
type Chat struct {
	panel *Panel
	// channel returns a channel of notices by its name, as "slack:room".
	channel func(name string) (notify.Channel, bool)
	people  func(context.Context) ([]access.Person, error)
	busy    chan struct{}
}

// NewChat returns the handler for ChatPath.
func NewChat(p *Panel, channel func(string) (notify.Channel, bool), people func(context.Context) ([]access.Person, error)) *Chat {
	return &Chat{panel: p, channel: channel, people: people, busy: make(chan struct{}, atOnce)}
}

// ServeHTTP implements http.Handler. The answer is 200 once what was pressed is on
// record or refused with a reply, 401 for what is not Slack's, 400 for what is not
// understood, and 503 when it can be pressed again.
func (c *Chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	known, _ := c.channel("slack:" + strings.TrimPrefix(r.URL.Path, ChatPath))
	room, ok := known.(*slack.Channel)
	if r.Method != http.MethodPost || !ok || !room.Answers() {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, slack.MaxBody))
	if err != nil {
		http.Error(w, "the request is too large or was cut off", http.StatusBadRequest)
		return
	}
	pressed, err := room.Read(r.Header, body, time.Now())
	switch {
	case errors.Is(err, slack.ErrNothing):
		return
	case errors.Is(err, nhi.ErrDenied):
		slog.Warn("a press of a button in chat was refused", "channel", room.Name(), "error", err)
		http.Error(w, "not allowed", http.StatusUnauthorized)
		return
	case err != nil:
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	default:
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	said, settled, err := c.answer(ctx, room, pressed)
	if err != nil {
		slog.Warn("an answer in chat was refused", "channel", room.Name(), "account", pressed.User, "approval", pressed.Approval, "error", err)
		said = refusal(err)
	}
	w.Header().Set("Content-Length", "0")
	_ = http.NewResponseController(w).Flush() // the reply may take longer than Slack waits
	reply, done := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer done()
	if err := room.Reply(reply, pressed, said, settled); err != nil {
		slog.Warn("what became of an answer could not be told in chat", "channel", room.Name(), "approval", pressed.Approval, "error", err)
	}
}

// answer gives the answer of whoever pressed, and says what became of it.
func (c *Chat) answer(ctx context.Context, room *slack.Channel, pressed slack.Answer) (said string, settled bool, err error) {
	person, err := c.person(ctx, room, pressed.User)
	if err != nil {
		return "", false, err
	}
	grants := c.panel.Grants(person)
	by := frame.Caller{Kind: string(access.Session), Name: person.Name, Person: person.ID, Grants: grants, Permits: access.PermitsOf(grants)}
	asked, err := c.panel.Store.Get(ctx, pressed.Approval)
	if err != nil {
		return "", false, err
	}
	who, err := c.panel.Identity(ctx, asked.Identity)
	if err != nil {
		return "", false, err
	}
	if within := by.Permits.Within(access.Respond); !by.Permits.May(access.Respond) || !within.Holds(&who) {
		return "", false, fmt.Errorf("%s may not answer for identities like this one: %w", person.ID, nhi.ErrDenied)
	}
	a, err := c.panel.Vote(ctx, by, pressed.Approval, pressed.Yes, "in "+room.Name())
	if err != nil {
		return "", false, err
	}
	verb := "said no"
	if pressed.Yes {
		verb = "said yes"
	}
	said = fmt.Sprintf("%s %s: %s asks to %s %s.", person.Name, verb, cmp.Or(who.Name, string(who.ID)), a.Action, a.Resource)
	if a.State == nhi.ApprovalPending {
		return said + fmt.Sprintf(" %d of %d; somebody else has to say yes, too.", a.Yeses(), a.Needed), false, nil
	}
	return said + fmt.Sprintf(" It is %s (%s).", a.State, a.ID), true, nil
}

// person is who has an account of Slack: the one person who signs in with its
// address and has done so lately. The error wraps nhi.ErrDenied when there is
// nobody, or more than one.
func (c *Chat) person(ctx context.Context, room *slack.Channel, account string) (access.Person, error) {
	address, err := room.Email(ctx, account)
	if err != nil {
		return access.Person{}, err
	}
	all, err := c.people(ctx)
	if err != nil {
		return access.Person{}, err
	}
	var found *access.Person
	for i := range all {
		if !access.SameAddress(all[i].Email, address) {
			continue
		}
		if found != nil {
			return access.Person{}, fmt.Errorf("two people sign in with the address of the account %s: %w", account, nhi.ErrDenied)
		}
		found = &all[i]
	}
	switch {
	case found == nil:
		return access.Person{}, fmt.Errorf("nobody who signs in to Muster has the address of the account %s; sign in to the console once: %w", account, nhi.ErrDenied)
	case found.Disabled || len(c.panel.Grants(*found)) == 0:
		return access.Person{}, fmt.Errorf("%s has no role here: %w", found.ID, nhi.ErrDenied)
	case time.Since(found.SignedIn) > goodFor:
		return access.Person{}, fmt.Errorf("%s has not signed in to the console for %v; sign in, then answer again: %w", found.ID, goodFor, nhi.ErrDenied)
	}
	return *found, nil
}

// refusal is what whoever pressed is told.
func refusal(err error) string {
	switch {
	case errors.Is(err, nhi.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded):
		return "Your answer was not taken: something that Muster needs is away. Press again, or answer in the console."
	case errors.Is(err, nhi.ErrDenied) || errors.Is(err, nhi.ErrConflict):
		return "Your answer was not taken: " + strings.TrimSuffix(strings.TrimSuffix(err.Error(), ": "+nhi.ErrDenied.Error()), ": "+nhi.ErrConflict.Error()) + "."
	case errors.Is(err, nhi.ErrNotFound):
		return "Your answer was not taken: this is not known any more."
	}
	return "Your answer was not taken. Answer in the console; the server's log says why."
}
