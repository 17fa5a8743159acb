package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/agent"
	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
)

func (a *app) pointRun() *cobra.Command {
	var set agent.Settings
	var keyFile, caFile, cert, key string
	return a.Command(command.Verb{
		Use: "run NAME --key-file FILE --data DIR", Short: "Decide at the point itself, also while the server is away",
		Long: "Run an enforcement point that decides by itself: proxies and services ask it as they would ask\nthe server, with the same key. It follows the server and keeps what it was told on disk. While\nthe server is away it goes on for what has sensitivity 0 and 1, denies what has more, and keeps\nits decisions until they are reported.",
		Example: `
muster point enroll edge --jq .key > edge.key
muster point run edge --server https://muster.example.com --key-file edge.key --data /var/lib/muster-edge
muster point run edge --key-file edge.key --data ./edge --listen 127.0.0.1:9710 --ops-listen 127.0.0.1:9711`,
		Args: cobra.ExactArgs(1),
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&set.Server, "server", "", "`address` of the server; MUSTER_SERVER, else "+command.DefaultServer)
			f.StringVar(&keyFile, "key-file", "", "`file` that holds the key of the point")
			f.StringVar(&set.Data, "data", "", "`folder` for what the point keeps; made if it is not there")
			f.StringVar(&set.Listen, "listen", "127.0.0.1:8710", "`address` where proxies and services ask")
			f.StringVar(&set.OpsListen, "ops-listen", "127.0.0.1:8711", "`address` of health")
			f.StringVar(&set.ExtAuthz, "ext-authz-listen", "off", "`address` where Envoy asks by gRPC, or off")
			f.StringVar(&caFile, "ca-file", "", "`file` of the authorities of the server's certificate, in PEM; else the system's")
			f.StringVar(&cert, "tls-cert", "", "`file` of the point's own TLS certificate, in PEM")
			f.StringVar(&key, "tls-key", "", "`file` of its private key, in PEM")
			command.Required(c, "key-file", "data")
			c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			set.Name = args[0]
			if set.Server == "" {
				set.Server = k.Address()
			}
			if set.ExtAuthz == "off" {
				set.ExtAuthz = ""
			}
			var err error
			if set.Key, err = keyIn(keyFile); err != nil {
				return err
			}
			if set.Roots, err = authorities(caFile); err != nil {
				return err
			}
			if cert != "" {
				if set.Certificate, err = certs.OpenFiles(certs.FileSettings{Cert: cert, Key: key}); err != nil {
					return err
				}
			}
			for _, address := range []string{set.Listen, set.ExtAuthz} {
				if address != "" && set.Certificate == nil && !config.Loopback(address) {
					return command.Usagef("%s can be reached by other machines, so it needs --tls-cert and --tls-key", address)
				}
			}
			return a.runPoint(ctx, set)
		},
	})
}

// keyIn reads the key of a point.
func keyIn(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" || len(key) > command.MaxSecret || strings.ContainsAny(key, " \t\r\n") {
		return "", command.Usagef("%s does not hold a key, which is one word", file)
	}
	return key, nil
}

// authorities reads certificates of authorities; nil without a file.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, command.Usagef("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

func (a *app) runPoint(ctx context.Context, set agent.Settings) error {
	noCoreDumps()
	if err := a.logging(); err != nil {
		return err
	}
	p, err := agent.New(ctx, set)
	if err != nil {
		return fmt.Errorf("start the point on %s: %w", set.Data, err)
	}
	a.Say("point %s answers at %s", set.Name, p.URL())
	a.Say("health at %s", p.OpsURL())
	if at := p.ExtAuthz(); at != "" {
		a.Say("Envoy asks at %s", at)
	}
	m := managerOf(a.Std.Getenv)
	m.tell("READY=1\nSTATUS=answering at " + p.URL())
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	context.AfterFunc(ctx, func() { m.tell("STOPPING=1") })
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(watched, p.OpsURL()+"/livez") })
	err = p.Run(ctx)
	unwatch()
	watching.Wait()
	if err != nil {
		return fmt.Errorf("run the point %s: %w", set.Name, err)
	}
	a.Say("stopped")
	return nil
}
