package operate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/agent"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
)

var (
	glassColumns  = output.Columns[client.GlassCode]("serial state created expires opened ended allowed reason | until closed point")
	openedColumns = output.Columns[agent.GlassState]("open until allowed codes reason trouble | left serial opened untold")
)

// Glass is `muster point glass`: the codes that open a point while the server is
// away.
func Glass(a *command.App) *cobra.Command {
	return a.Group("glass", "Codes that open a point while the server is away", `
muster point glass list edge
muster point glass withdraw edge 01900000-0000-7000-8000-000000000000`, glassList(a), glassWithdraw(a))
}

func glassList(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "list NAME", Short: "List the break-glass codes of a point, and who holds their halves",
		Long:    "List the break-glass codes of a point, the newest first. Two people make one in the console, on the\npage of points: each takes a half there, signed in as themselves, because who is behind a token\nnobody knows; unless a code is ready, the address is printed. -o json names who holds the halves.",
		Example: `muster point glass list edge -o json`,
		Args:    cobra.ExactArgs(1), Prints: output.Fields[client.GlassCode](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			var reply client.GlassCodes
			if err := k.Get(ctx, "/v1/points/"+url.PathEscape(args[0])+"/break-glass", nil, &reply); err != nil {
				return err
			}
			if err := output.List(k.Out, reply.Codes, glassColumns); err != nil {
				return err
			}
			if next := prepares(reply.Codes, k.Address()); next != "" {
				k.Say("%s", output.Visible(next))
			}
			return nil
		},
	})
}

// prepares says where people go on, unless a code is ready. Halves are for people who
// are signed in by a browser: a token may be a program's.
func prepares(codes []client.GlassCode, address string) string {
	console := strings.TrimSuffix(address, "/") + "/points"
	next := "no code is ready: two administrators, each signed in as themselves, press Break-glass beside the point and take a half at " + console
	for _, c := range codes {
		switch c.State {
		case "ready":
			return ""
		case "half":
			next = "a second administrator takes the other half: signed in as themselves, with Break-glass beside the point, at " + console + "?point=" + url.QueryEscape(c.Point)
		}
	}
	return next
}

func glassWithdraw(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "withdraw NAME SERIAL", Short: "Make a break-glass code open nothing any more",
		Long:    "Make a break-glass code open nothing any more, at a point that the server reaches. A point that is\naway does not hear of it: only its expiry ends a code there. A point that is open stays so:\nclose it there with `muster point break-glass --close`, or disable it.",
		Example: `muster point glass withdraw edge 01900000-0000-7000-8000-000000000000`,
		Args:    cobra.ExactArgs(2), Prints: output.Fields[client.GlassCode](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodDelete, "/v1/points/"+url.PathEscape(args[0])+"/break-glass/"+url.PathEscape(args[1]), nil, glassColumns, nil)
		},
	})
}

// A breaking is how somebody asks a point to open.
type breaking struct {
	ops, keyFile, reason, first, second string
	lasts                               time.Duration
	closes                              bool
}

// BreakGlass is `muster point break-glass`, at the point itself.
func BreakGlass(a *command.App) *cobra.Command {
	var b breaking
	return a.Command(command.Verb{
		Use: "break-glass", Short: "Open the point on this machine while its server is away, or say whether it is open",
		Long: "Say whether the point on this machine is open by a break-glass code. With --reason, open it: two\npeople type the halves that they took beforehand, one after the other, unseen; or each puts theirs\ninto a file; or both come on standard input, a line each. An open point lets pass what the policies\nrefuse, for at most an hour, once for each code; what is revoked, contained or unknown stays refused.\nThe server hears of it when it is back.",
		Example: `
muster point break-glass
muster point break-glass --reason "payroll must run, the server's rack burns" --for 30m --key-file edge.key
muster point break-glass --close --key-file edge.key`,
		Prints: output.Fields[agent.GlassState](), Talks: command.Alone,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&b.ops, "ops", "http://127.0.0.1:8711", "`address` of the point's health, on this machine")
			f.StringVar(&b.keyFile, "key-file", "", "`file` that holds the key of the point, as `muster point run` got it")
			f.StringVar(&b.reason, "reason", "", "open it, for this `reason`, which everybody will read")
			f.DurationVar(&b.lasts, "for", breakglass.Longest, "for how `long`, in whole minutes, an hour at most")
			f.StringVar(&b.first, "first", "", "`file` that holds one half, instead of asking for it")
			f.StringVar(&b.second, "second", "", "`file` that holds the other half")
			f.BoolVar(&b.closes, "close", false, "close it now")
			c.MarkFlagsMutuallyExclusive("close", "reason")
			c.MarkFlagsRequiredTogether("first", "second")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			method, body, err := b.request(a)
			if err != nil {
				return err
			}
			state, err := b.ask(ctx, method, body)
			if err != nil {
				return err
			}
			if err := output.List(k.Out, []agent.GlassState{state}, openedColumns); err != nil {
				return err
			}
			if state.Open {
				a.Say("THE POINT IS OPEN until %s: what the policies refuse passes. Close it as soon as you can: muster point break-glass --close", state.Until.Local().Format(time.TimeOnly))
			}
			return nil
		},
	})
}

// request makes the request of what was asked for.
func (b *breaking) request(a *command.App) (method string, body []byte, err error) {
	switch {
	case b.closes:
		return http.MethodDelete, nil, nil
	case b.reason == "":
		return http.MethodGet, nil, nil
	case b.lasts <= 0 || b.lasts > breakglass.Longest || b.lasts%time.Minute != 0:
		return "", nil, command.Usagef("--for %v: want whole minutes, from 1m to 60m", b.lasts)
	}
	in := agent.OpenGlass{Minutes: int(b.lasts / time.Minute), Reason: b.reason}
	if in.First, in.Second, err = b.halves(a); err != nil {
		return "", nil, err
	}
	for i, half := range []string{in.First, in.Second} {
		if _, err := breakglass.Verifier(half); err != nil {
			return "", nil, command.Usagef("half %d: %w", i+1, err)
		}
	}
	body, err = json.Marshal(in)
	return http.MethodPost, body, err
}

// halves reads both halves: from files, unseen from a terminal, or a line each.
func (b *breaking) halves(a *command.App) (first, second string, err error) {
	if b.first != "" {
		if first, err = halfIn(b.first); err == nil {
			second, err = halfIn(b.second)
		}
		return first, second, err
	}
	if f, ok := a.Std.In.(*os.File); ok && command.Terminal(f) {
		var typed [2]string
		for i, who := range []string{"one half", "the other half"} {
			fmt.Fprintf(a.Std.Err, "%s, unseen: ", who)
			text, err := term.ReadPassword(int(f.Fd()))
			a.Say("")
			if err != nil {
				return "", "", fmt.Errorf("read %s: %w", who, err)
			}
			typed[i] = string(text)
		}
		return typed[0], typed[1], nil
	}
	lines := bufio.NewScanner(io.LimitReader(a.Std.In, 4096))
	var read []string
	for lines.Scan() && len(read) < 3 {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			read = append(read, line)
		}
	}
	if err := lines.Err(); err != nil {
		return "", "", fmt.Errorf("read the halves: %w", err)
	}
	if len(read) != 2 {
		return "", "", command.Usagef("standard input has %s: want the two halves, a line each", output.Count(len(read), "line", "lines"))
	}
	return read[0], read[1], nil
}

func halfIn(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read a half: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return "", fmt.Errorf("read a half: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// ask sends a request to the point. Halves and key go to this machine alone.
func (b *breaking) ask(ctx context.Context, method string, body []byte) (state agent.GlassState, err error) {
	u, err := url.Parse(b.ops)
	if err != nil || u.Scheme != "http" {
		return state, command.Usagef("--ops %s: want an address such as http://127.0.0.1:8711", output.Visible(b.ops))
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return state, command.Usagef("--ops %s: only a point on this machine is opened, at 127.0.0.1 or ::1", output.Visible(b.ops))
	}
	req, err := http.NewRequestWithContext(ctx, method, u.JoinPath(agent.GlassPath).String(), bytes.NewReader(body))
	if err != nil {
		return state, err
	}
	if method != http.MethodGet {
		if b.keyFile == "" {
			return state, command.Usagef("give the key of the point: --key-file FILE")
		}
		key, err := os.ReadFile(b.keyFile)
		if err != nil {
			return state, fmt.Errorf("read the key of the point: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
		req.Header.Set("Content-Type", "application/json")
	}
	asking := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := asking.Do(req)
	if err != nil {
		return state, fmt.Errorf("ask the point: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		err := errors.New(output.Visible(strings.TrimSpace(string(why))))
		if res.StatusCode == http.StatusBadRequest {
			return state, command.UsageError{Err: err}
		}
		return state, fmt.Errorf("the point did not do that: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&state); err != nil {
		return state, fmt.Errorf("read what the point says: %w", nhi.ErrInvalid)
	}
	return state, nil
}
