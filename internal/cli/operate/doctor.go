package operate

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/output"
)

// An Ailment is something that doctor found, with what cures it.
type Ailment struct {
	Check   string `json:"check"`
	Problem string `json:"problem"`
	Cure    string `json:"cure"`
}

// An examination looks at one installation.
type examination struct {
	data, file string // folder and configuration file; empty: not looked at
	cfg        config.Config
	ops        string // URL of the operations listener of this machine
	remote     *command.Remote
	signedIn   bool // a token was given
	http       *http.Client
	now        time.Time
	environ    []string

	found []Ailment
	ran   []string // checks that could look
}

// Doctor is `muster doctor`: what is wrong with an installation, and the cure.
func Doctor(a *command.App) *cobra.Command {
	var data, file string
	return a.Command(command.Verb{
		Use: "doctor", Short: "Find the likely mistakes of an installation, and say the cure",
		Long: "Look at a data folder and a configuration file on this machine, at the health of the server that\nuses them, and, with an administrator's token, at what a server knows. Nothing is changed.\nExit status 1 when something was found.",
		Example: `
muster doctor --data /var/lib/muster --config /etc/muster/muster.yaml
muster doctor --server https://muster.example.com --token-file operator.token -o json`,
		Prints: output.Fields[Ailment](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&data, "data", "", "`folder` of the data of a server on this machine")
			c.Flags().StringVar(&file, "config", "", "its configuration `file`")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			e := &examination{data: data, file: file, remote: k.Remote, now: time.Now(), environ: os.Environ(), http: &http.Client{Timeout: 5 * time.Second}}
			l, err := config.Read(file, k.Std.Getenv)
			if err != nil && file == "" {
				return command.UsageError{Err: err}
			}
			e.cfg, e.ops = l.Config, "http://"+l.Config.OpsListen
			token, err := k.Token()
			if err != nil && k.TokenFile != "" {
				return err
			}
			e.signedIn = token != ""
			if data == "" && file == "" && !e.signedIn {
				return command.Usagef("nothing to look at: give --data and --config of a server here, or --server and --token-file of one elsewhere")
			}
			e.examine(ctx)
			return e.report(a, k)
		},
	})
}

func (e *examination) report(a *command.App, k *command.Call) error {
	if e.found == nil {
		e.found = []Ailment{}
	}
	if len(e.found) > 0 || k.Out.Structured() {
		if err := output.List(k.Out, e.found, output.Columns[Ailment]("check problem cure")); err != nil {
			return err
		}
	}
	a.Say("looked at: %s", strings.Join(e.ran, ", "))
	if len(e.found) > 0 {
		a.Say("found %s", output.Count(len(e.found), "problem", "problems"))
		return command.ErrFound
	}
	a.Say("nothing found")
	return nil
}

// found notes what is wrong.
func (e *examination) tell(check, problem, cure string) {
	e.found = append(e.found, Ailment{check, problem, cure})
}

func (e *examination) examine(ctx context.Context) {
	if e.file != "" {
		e.run("configuration", e.configuration)
	}
	if e.data != "" {
		e.run("data folder", e.folder)
		e.run("keys", e.keys)
		e.run("clock", e.clock)
		e.run("administrator token", e.firstToken)
	}
	if e.data != "" || e.file != "" {
		e.run("limits", e.limits)
		e.run("network data", e.networks)
		e.run("environments", e.environments)
		if !e.health(ctx) {
			e.run("ports", func() { e.ports(ctx) })
		}
	}
	if e.cfg.PublicURL != "" {
		e.run("public URL", func() { e.publicURL(ctx) })
	}
	if e.signedIn {
		e.run("server", func() { e.server(ctx) })
	}
}

func (e *examination) run(name string, check func()) {
	e.ran = append(e.ran, name)
	check()
}

func (e *examination) configuration() {
	problems, err := config.Problems(e.file, e.environ, e.now)
	if err != nil {
		e.tell("configuration", err.Error(), "name the file that the server uses, and give its user the right to read it")
		return
	}
	for _, p := range problems {
		e.tell("configuration", p.Where()+": "+p.What, "mend that place; muster config explain KEY says what a key takes, muster config check looks again")
	}
}

// health asks the server of this machine how it is. It returns whether one
// answered.
func (e *examination) health(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.ops+"/readyz?verbose", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Accept", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var rep health.Report
	if json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&rep) != nil || len(rep.Checks) == 0 {
		return false
	}
	e.ran = append(e.ran, "health")
	for _, l := range rep.Checks {
		if l.Level != health.LevelOK {
			e.tell(l.Name, l.Level.String()+": "+l.Why, l.Cure)
		}
	}
	return true
}

// ports looks whether a server could take its addresses. It is asked only when
// no server answers on them.
func (e *examination) ports(ctx context.Context) {
	addresses := map[string]string{"listen": e.cfg.Listen, "ops_listen": e.cfg.OpsListen}
	if e.cfg.ServesEnvoy() {
		addresses["ext_authz_listen"] = e.cfg.ExtAuthzListen
	}
	for key, address := range addresses {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			e.tell("ports", fmt.Sprintf("%s: %s cannot be used: %v", key, address, reason(err)), "ss -ltnp shows which program has it: stop that, or set "+key+" to another address in the configuration file")
			continue
		}
		_ = l.Close()
	}
}

// publicURL asks the address that the world is told, and compares who answers.
func (e *examination) publicURL(ctx context.Context) {
	u, err := url.Parse(e.cfg.PublicURL)
	if err != nil {
		return // the configuration says so
	}
	if u.Scheme == "http" && e.cfg.TLS.Cert != "" {
		e.tell("public URL", "public_url begins with http, and the server speaks TLS", "write https://"+u.Host)
	}
	base := strings.TrimSuffix(e.cfg.PublicURL, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/.well-known/openid-configuration", nil)
	if err != nil {
		return
	}
	res, err := e.http.Do(req)
	if err != nil {
		cure := "see whether the name resolves, and whether firewall and proxy let callers through to this server, which listens on " + e.cfg.Listen + " (listen)"
		if _, bad := err.(*url.Error).Err.(*tls.CertificateVerificationError); bad {
			cure = "give the server a certificate for " + u.Hostname() + " from an authority that callers know"
		}
		e.tell("public URL", fmt.Sprintf("%s cannot be reached from here: %v", base, reason(err)), cure)
		return
	}
	defer res.Body.Close()
	var who struct {
		Issuer string `json:"issuer"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&who) != nil || who.Issuer != base {
		e.tell("public URL", fmt.Sprintf("%s is answered by somebody else, or by a server that calls itself %.200q", base, who.Issuer),
			"let the address lead to this server, and public_url be what callers write")
	}
}

// reason is the innermost error, without addresses that were named already.
func reason(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		err = inner.Unwrap()
	}
}

// quiet is how long a source, or a new point, may be silent.
const quiet = 24 * time.Hour

// silence is how long a point may be silent that has asked before.
const silence = 7 * 24 * time.Hour

// trial is how long a point may observe before somebody should look.
const trial = 14 * 24 * time.Hour

// server looks at what a server knows, as an administrator.
func (e *examination) server(ctx context.Context) {
	var o client.Overview
	if err := e.remote.Get(ctx, "/v1/overview", nil, &o); err != nil {
		e.tell("server", fmt.Sprintf("%s: %v", e.remote.Address(), err), "see whether a server runs there (--server, MUSTER_SERVER) and whether the token is alive and an administrator's")
		return
	}
	if o.GeoStale {
		e.tell("network data", "the server's table of networks is from "+o.GeoBuilt.Format(time.DateOnly)+": countries and networks of addresses may be wrong", "update the server to a newer release, which brings a newer table")
	}
	if o.Unlogged > 0 {
		e.tell("journal", fmt.Sprintf("%d decisions could not be recorded", o.Unlogged), "see /readyz?verbose and the log of the server for why")
	}
	if o.Identities > 0 && o.Unowned*2 > o.Identities {
		e.tell("owners", fmt.Sprintf("%d of %d identities have no owner", o.Unowned, o.Identities),
			"muster identity list --unowned shows them; say who answers with muster identity set-owner ID OWNER, or tag them where they live (muster config explain owner_tags) and import again")
	}
	if o.Identities == 0 {
		e.tell("inventory", "nothing is known yet: there is no identity to protect", "import an inventory (muster inventory import aws --help) or connect a source of logs (muster source add --help)")
	}
	e.points(o.Points)
	c, err := e.remote.Client()
	if err != nil {
		e.tell("sources", err.Error(), "use the token of an administrator; muster token create NAME --role admin makes one")
		return
	}
	var sources []client.Source
	for v, err := range c.Sources(ctx, client.ListQuery{}) {
		if err != nil {
			e.tell("sources", err.Error(), "use the token of an administrator; muster token create NAME --role admin makes one")
			return
		}
		sources = append(sources, v)
	}
	e.sources(sources)
}

func (e *examination) points(points []client.Point) {
	if len(points) == 0 {
		e.tell("points", "no enforcement point is enrolled: nothing is protected", "enrol one, and give its key to the proxy that shall ask: muster point enroll NAME")
	}
	for _, p := range points {
		const see = "see the proxy in front of what it guards: does it ask this server, with the key of this point? If nothing is to go through it, disable it: muster point set "
		switch {
		case p.Disabled || e.now.Sub(p.Created) < quiet:
		case p.LastCall == nil:
			e.tell("points", fmt.Sprintf("point %s has never asked since it was enrolled on %s: what it should guard is open", p.Name, p.Created.Format(time.DateOnly)), see+p.Name+" --disable")
		case e.now.Sub(*p.LastCall) > silence:
			e.tell("points", fmt.Sprintf("point %s has not asked for %d days", p.Name, int(e.now.Sub(*p.LastCall).Hours()/24)), see+p.Name+" --disable")
		}
		if !p.Disabled && p.Mode == "observe" && e.now.Sub(p.Created) > trial {
			e.tell("points", fmt.Sprintf("point %s has only observed for %d days", p.Name, int(e.now.Sub(p.Created).Hours()/24)),
				"see in the decisions what it would have refused (muster point list counts them), then: muster point set "+p.Name+" --mode enforce")
		}
	}
}

func (e *examination) sources(sources []client.Source) {
	for _, s := range sources {
		last := s.Health.Last
		switch {
		case s.Disabled:
		case s.Health.Error != "":
			e.tell("sources", fmt.Sprintf("the last delivery of source %s was not taken in: %s", s.Name, s.Health.Error), "mend what it sends as the error says, and send it again: nothing of that delivery was taken")
		case e.now.Sub(s.Created) < quiet || e.now.Sub(s.Health.Since) < quiet:
		case last == nil:
			e.tell("sources", fmt.Sprintf("source %s has sent nothing since the server started", s.Name), "look at what sends it: does it run, does it reach this server, has it the key of this source?")
		case e.now.Sub(*last) > quiet:
			e.tell("sources", fmt.Sprintf("source %s has been quiet for %v", s.Name, e.now.Sub(*last).Round(time.Hour)), "look at what sends it: does it run, does it reach this server, has it the key of this source?")
		}
	}
}
