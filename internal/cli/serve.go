package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/demo"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/server"
	"github.com/muster-id/muster/internal/telemetry"
)

func (a *app) serve() *cobra.Command {
	var data, file, listen, opsListen, envoy, publicURL, cert, key string
	var renew bool
	return a.Command(command.Verb{
		Use: "serve --data DIR", Short: "Run the server",
		Long: "Run the server until it is interrupted. Everything it keeps lies in one folder, which one\nserver at a time uses. Without a file of settings the defaults make a server that works,\nreachable from this machine only.",
		Example: `
muster serve --data /var/lib/muster
muster serve --data ./data --listen 127.0.0.1:9700 --ops-listen 127.0.0.1:9701
muster serve --data /var/lib/muster --config /etc/muster.yaml --listen :443 \
    --public-url https://muster.example.com --tls-cert cert.pem --tls-key key.pem`,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&data, "data", "", "`folder` for everything the server keeps; made if it is not there")
			f.StringVar(&file, "config", "", "YAML `file` of settings")
			f.StringVar(&listen, "listen", "", "`address` of console and API (default 127.0.0.1:8700)")
			f.StringVar(&opsListen, "ops-listen", "", "`address` of health and metrics (default 127.0.0.1:8701)")
			f.StringVar(&envoy, "ext-authz-listen", "", "`address` where Envoy asks by gRPC, or off (default "+config.DefaultExtAuthz+")")
			f.StringVar(&publicURL, "public-url", "", "`URL` by which the world reaches the server")
			f.StringVar(&cert, "tls-cert", "", "`file` of the TLS certificate, in PEM")
			f.StringVar(&key, "tls-key", "", "`file` of its private key, in PEM")
			f.BoolVar(&renew, "renew-admin-token", false, "write a new admin.token when no administrator's token is alive")
			command.Required(c, "data")
		},
		Run: func(ctx context.Context, _ *command.Call, _ []string) error {
			flags := map[string]string{"listen": listen, "ops_listen": opsListen, "ext_authz_listen": envoy, "public_url": publicURL, "tls.cert": cert, "tls.key": key}
			read := func() (config.Config, error) { return configured(file, a.Std.Getenv, flags) }
			cfg, err := read()
			if err != nil {
				return err
			}
			again := make(chan os.Signal, 1)
			signal.Notify(again, syscall.SIGHUP)
			defer signal.Stop(again)
			return a.runServer(ctx, server.Settings{
				Data: data, Config: cfg, Version: a.Version, RenewToken: renew, Reload: read, ConfigFile: file, Again: again,
			})
		},
	})
}

// configured reads the configuration of a server: file, then environment, then
// flags by their keys.
func configured(file string, getenv func(string) string, flags map[string]string) (config.Config, error) {
	l, err := config.Read(file, getenv)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return l.Config, err
		}
		return l.Config, command.DocumentError{Err: err}
	}
	l.Flags(flags)
	if err := l.Check(); err != nil {
		return l.Config, command.UsageError{Err: err}
	}
	return l.Config, nil
}

func (a *app) runServer(ctx context.Context, set server.Settings) error {
	noCoreDumps()
	if err := a.logging(); err != nil {
		return err
	}
	tracing, err := telemetry.Start(ctx, a.Std.Getenv, a.Version)
	if err != nil {
		return command.UsageError{Err: err}
	}
	defer func() {
		if err := tracing.Stop(ctx); err != nil {
			slog.Warn("the last traces are lost", "error", err)
		}
	}()
	set.Tracing = tracing
	s, err := server.New(ctx, set)
	if err != nil {
		return fmt.Errorf("start on %s: %w", set.Data, err)
	}
	a.Say("muster %s serves %s", a.Version, s.URL())
	a.Say("health and metrics at %s", s.OpsURL())
	if at := s.ExtAuthz(); at != "" {
		a.Say("Envoy asks at %s", at)
	}
	for point, at := range s.Proxies() {
		a.Say("the proxy %s listens on %s", point, at)
	}
	a.Say("sign in: muster login --server %s --token-file %s", s.URL(), filepath.Join(set.Data, "admin.token"))
	m := managerOf(a.Std.Getenv)
	m.tell("READY=1\nSTATUS=serving " + s.URL())
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	context.AfterFunc(ctx, func() { m.tell("STOPPING=1") })
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(watched, s.OpsURL()+"/livez") })
	err = s.Run(ctx)
	unwatch()
	watching.Wait()
	if err != nil {
		return fmt.Errorf("serve %s: %w", set.Data, err)
	}
	a.Say("stopped")
	return nil
}

func (a *app) demo() *cobra.Command {
	var set demo.Settings
	var story, asJSON bool
	return a.Command(command.Verb{
		Use: "demo", Short: "Show a living fictional company in the browser",
		Long: "Start everything in one process on this machine: a company of some thousand identities with\ntheir history, traffic, and thieves who steal a key again and again. Nothing is sent anywhere;\nCtrl-C removes everything.",
		Example: `
muster demo
muster demo --no-open --seed 7
muster demo --story --json      one story, measured; exit status 1 if the thief got through`,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.BoolVar(&set.NoOpen, "no-open", false, "do not open the browser")
			f.Uint64Var(&set.Seed, "seed", 1, "what the company and its thieves are drawn from")
			f.BoolVar(&story, "story", false, "play one story without a browser and print its figures")
			f.BoolVar(&asJSON, "json", false, "print the figures of --story as JSON, which is the only form there is")
		},
		Run: func(ctx context.Context, _ *command.Call, _ []string) error {
			noCoreDumps()
			if asJSON && !story {
				return command.Usagef("--json prints the figures of one story: say --story too")
			}
			if err := a.logging(); err != nil {
				return err
			}
			set.Version = a.Version
			if !story {
				set.Out = a.Std.Out
				return demo.Run(ctx, set)
			}
			set.Out = a.Std.Err
			report, err := demo.Story(ctx, set)
			if err != nil {
				return err
			}
			if err := a.JSON(report); err != nil {
				return err
			}
			if report.Hindered() {
				a.Say("the thief got through, or the workload was hindered")
				return command.ErrFound
			}
			return nil
		},
	})
}

func (a *app) login() *cobra.Command {
	var noOpen bool
	return a.Command(command.Verb{
		Use: "login", Short: "Sign in to the console by a one-time link",
		Long: "Print a link that signs one browser in, once, and open it when this is a terminal.",
		Example: `
muster login --token-file /var/lib/muster/admin.token
muster login --no-open --server https://muster.example.com`,
		Talks: command.Writes,
		Flags: func(c *cobra.Command) { c.Flags().BoolVar(&noOpen, "no-open", false, "do not open the browser") },
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			link, sent, err := command.Send[client.Link](ctx, k, http.MethodPost, "/v1/links", nil)
			if !sent {
				return err
			}
			fmt.Fprintln(a.Std.Out, output.Visible(link.URL))
			a.Say("the link works once, until %s", output.When(link.Expires))
			if !noOpen && command.Terminal(a.Std.Out) {
				open(ctx, link.URL)
			}
			return nil
		},
	})
}

// open shows an address in the browser, if there is one. Whoever reads the
// printed link needs none.
func open(ctx context.Context, url string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	_ = exec.CommandContext(context.WithoutCancel(ctx), program, url).Start()
}

// openapi prints the description of the API; the build compares it with the
// committed one.
func (a *app) openapi() *cobra.Command {
	c := a.Command(command.Verb{
		Use: "openapi", Short: "Print the description of the API", Example: `muster openapi > openapi.yaml`,
		Run: func(context.Context, *command.Call, []string) error {
			_, describe, err := api.New(frame.Deps{})
			if err != nil {
				return err
			}
			text, err := describe()
			if err != nil {
				return err
			}
			_, err = a.Std.Out.Write(text)
			return err
		},
	})
	c.Hidden = true
	return c
}
