package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
)

// A shell runs command lines against one server.
type shell struct {
	in  string
	env map[string]string
}

func (s shell) run(t *testing.T, args ...string) (code int, out, words string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Run(t.Context(), "v1", args, command.Std{In: strings.NewReader(s.in), Out: &stdout, Err: &stderr, Getenv: func(k string) string { return s.env[k] }})
	return code, stdout.String(), stderr.String()
}

// serving answers with h and returns a shell that knows its address and a token.
func serving(t *testing.T, h http.HandlerFunc) shell {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return shell{env: map[string]string{"MUSTER_SERVER": srv.URL, "MUSTER_TOKEN": "t"}}
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func TestTheExitStatusTellsHowItWent(t *testing.T) {
	answer := func(status int, detail string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusOK {
				fmt.Fprint(w, `{"id":"crd_a","state":"active"}`)
				return
			}
			refuse(w, status, detail)
		}
	}
	for _, tt := range []struct {
		name   string
		status int
		want   int
		words  string
	}{
		{"done", 200, 0, ""},
		{"nobody known", 401, 3, "--token-file"},
		{"not allowed", 403, 3, "no"},
		{"not there", 404, 3, "no"},
		{"somebody was faster", 409, 3, "no"},
		{"wrong words", 422, 2, "no"},
		{"the server's fault", 500, 3, "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, words := serving(t, answer(tt.status, "no")).run(t, "credential", "show", "crd_a")
			if code != tt.want || !strings.Contains(words, tt.words) || strings.Count(words, "\n") > 1 {
				t.Errorf("status %d, want %d; said %q", code, tt.want, words)
			}
		})
	}
}

func TestAnErrorIsOneLineWithoutHiddenText(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, "credential \"x\x1b[2J\ny\": not found") })
	_, _, words := s.run(t, "credential", "show", "x")
	if words != "muster: credential \"x\\x1b[2J\\ny\": not found; `muster credential list` shows what there is\n" {
		t.Errorf("said %q", words)
	}
	_, _, words = s.run(t, "credential", "show", "x", "--debug")
	if !strings.Contains(words, "\n  *client.Error: ") {
		t.Errorf("--debug said %q", words)
	}
}

func TestEveryCommandHasAnExampleAndAShortDescription(t *testing.T) {
	a := &app{&command.App{Std: command.Std{Getenv: func(string) string { return "" }}}}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no short description or no example", c.CommandPath())
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short description ends with a full stop", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			if name := sub.Name(); name != "help" && name != "completion" {
				walk(sub)
			}
		}
	}
	walk(a.root())
}

// The examples are what people copy: each must be a command line that parses.
func TestTheExamplesParse(t *testing.T) {
	a := &app{&command.App{Std: command.Std{Getenv: func(string) string { return "" }}}}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, line := range strings.Split(strings.ReplaceAll(c.Example, "\\\n", " "), "\n") {
			_, call, ok := strings.Cut(" "+line, " muster ")
			if !ok {
				continue
			}
			call, _, _ = strings.Cut(call, " | ")
			call, _, _ = strings.Cut(call, " > ")
			call, _, _ = strings.Cut(call, " < ")
			call, _, _ = strings.Cut(call, "    ") // words beside the example
			words := strings.Fields(call)
			fresh := a.root()
			cmd, rest, err := fresh.Find(words)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd.HasSubCommands() {
				t.Errorf("%s: the example %q does not parse: %v", c.CommandPath(), line, err)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
}

func TestADryRunSendsNothingAndShowsNoSecret(t *testing.T) {
	var asked atomic.Int32
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); fmt.Fprint(w, "{}") })
	dir := t.TempDir()
	file := filepath.Join(dir, "routes.yaml")
	if err := os.WriteFile(file, []byte("[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.in = "very-secret-value-of-a-partner\n"
	for _, line := range [][]string{
		{"identity", "create", "--name", "a", "--environment", "prod"},
		{"identity", "set-owner", "nhi_a", "team:x"},
		{"credential", "create", "--identity", "nhi_a", "--expires-in", "24h"},
		{"credential", "register", "--identity", "nhi_a"},
		{"credential", "pin", "crd_a", "--consumer", "nhi_b"},
		{"credential", "unpin", "crd_a"},
		{"resource", "apply", file},
		{"source", "add", "scanner"},
		{"source", "apply", file, "--as", "trust"},
		{"point", "enroll", "edge"},
		{"point", "set", "edge", "--mode", "enforce"},
		{"finding", "ack", "f"},
		{"finding", "resolve", "f"},
		{"finding", "dismiss", "f"},
		{"action", "undo", "a"},
		{"action", "approve", "a"},
		{"audit", "checkpoint"},
		{"login"},
		{"person", "set-role", "per_a", "viewer", "--team", "payments"},
		{"person", "disable", "per_a"},
		{"token", "create", "ci", "--role", "viewer"},
		{"token", "revoke", "abc"},
		{"notify", "test", "ops"},
		{"replay", file, "--to", s.env["MUSTER_SERVER"]},
	} {
		code, out, words := s.run(t, append(line, "--dry-run")...)
		if code != 0 || !strings.Contains(out, `"method"`) || !strings.Contains(words, "nothing was sent") {
			t.Errorf("%v: status %d, printed %q, said %q", line, code, out, words)
		}
		if strings.Contains(out+words, "very-secret") {
			t.Errorf("%v shows the secret: %q %q", line, out, words)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestWritesAreTheOnesWithADryRun(t *testing.T) {
	a := &app{&command.App{Std: command.Std{Getenv: func(string) string { return "" }}}}
	writing := map[string]bool{
		"create": true, "set-owner": true, "register": true, "pin": true, "unpin": true, "apply": true, "add": true, "enroll": true, "set": true,
		"ack": true, "resolve": true, "dismiss": true, "undo": true, "approve": true, "checkpoint": true, "login": true, "aws": true, "scan": true, "replay": true,
		"set-role": true, "disable": true, "enable": true, "revoke": true, "test": true, "deny": true, "cancel": true,
		"push": true, "rollback": true, "start": true, "stop": true,
		"pause": true, "resume": true, "advance": true, "abort": true, "acknowledge": true, "withdraw": true,
	}
	offline := map[string]bool{"muster policy test": true} // that are called like a verb that writes
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.HasSubCommands() && (c.Flags().Lookup("dry-run") != nil) != (writing[c.Name()] && !offline[c.CommandPath()]) {
			t.Errorf("%s: dry-run is there: %v", c.CommandPath(), c.Flags().Lookup("dry-run") != nil)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
}

func TestAWrongFieldIsRefusedBeforeAnythingIsSent(t *testing.T) {
	var asked atomic.Int32
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); fmt.Fprint(w, "{}") })
	for _, args := range [][]string{{"--json", "nope"}, {"--jq", ".["}, {"-o", "xml"}} {
		if code, _, _ := s.run(t, append([]string{"identity", "create", "--name", "a", "--environment", "prod"}, args...)...); code != command.WrongUse {
			t.Errorf("%v: status %d", args, code)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestAListIsReadToItsEnd(t *testing.T) {
	pages := map[string]string{
		"":  `{"items":[{"id":"a"},{"id":"b"}],"next":"1"}`,
		"1": `{"items":[{"id":"c"}],"next":"2"}`,
		"2": `{"items":[{"id":"d"}]}`,
	}
	var limits []string
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		limits = append(limits, r.URL.Query().Get("limit"))
		fmt.Fprint(w, pages[r.URL.Query().Get("page_token")])
	})
	if _, out, words := s.run(t, "identity", "list", "--jq", ".[].id"); out != "a\nb\nc\nd\n" || words != "" {
		t.Errorf("printed %q, said %q", out, words)
	}
	limits = nil
	_, out, words := s.run(t, "identity", "list", "--jq", ".[].id", "--limit", "3")
	if diff := cmp.Diff([]string{"3", "1"}, limits); diff != "" || out != "a\nb\nc\n" || !strings.Contains(words, "3 of 3+") {
		t.Errorf("printed %q, said %q (-want +got):\n%s", out, words, diff)
	}
}

func TestAListThatNeverEndsIsAnError(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[{"id":"a"}],"next":"1"}`) })
	if code, _, words := s.run(t, "identity", "list"); code != command.CouldNot || !strings.Contains(words, "does not come to an end") {
		t.Errorf("status %d, said %q", code, words)
	}
}

func TestTheTokenComesFromAFileOrTheEnvironmentAndIsOneWord(t *testing.T) {
	var got string
	s := serving(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization"); fmt.Fprint(w, `{}`) })
	file := filepath.Join(t.TempDir(), "token")
	for content, want := range map[string]string{"from-file\n": "Bearer from-file", "": "", "two words": "", "two\nlines": "", strings.Repeat("x", command.MaxSecret+1): ""} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got = ""
		code, _, words := s.run(t, "credential", "show", "a", "--token-file", file)
		if got != want || (want == "") != (code == command.WrongUse) {
			t.Errorf("%.20q: sent %q, want %q; status %d", content, got, want, code)
		}
		if content != "" && strings.Contains(words, strings.TrimSpace(content)) {
			t.Errorf("the token is shown: %q", words)
		}
	}
	if s.run(t, "credential", "show", "a"); got != "Bearer t" {
		t.Errorf("sent %q", got)
	}
	delete(s.env, "MUSTER_TOKEN")
	if code, _, words := s.run(t, "credential", "show", "a"); code != command.WrongUse || !strings.Contains(words, "admin.token") {
		t.Errorf("status %d, said %q", code, words)
	}
}

func TestWatchingEndsAtTheLimitAndPrintsLines(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("topics") != "decision" {
			refuse(w, 422, "topics")
			return
		}
		fmt.Fprint(w, "event: hello\ndata: {}\n\n")
		for i, outcome := range []string{"allow", "deny", "allow", "deny", "deny"} {
			fmt.Fprintf(w, "event: decision\ndata: {\"id\":\"d%d\",\"outcome\":%q}\n\n", i, outcome)
		}
		fmt.Fprint(w, "event: dropped\ndata: {\"decisions\":7}\n\n")
	})
	code, out, words := s.run(t, "decide", "list", "--watch", "--outcome", "deny", "--limit", "2", "--json", "id")
	if code != 0 || out != "{\"id\":\"d1\"}\n{\"id\":\"d3\"}\n" || !strings.Contains(words, "watching") {
		t.Errorf("status %d, printed %q, said %q", code, out, words)
	}
	code, _, words = s.run(t, "decide", "list", "--watch")
	if code != command.CouldNot || !strings.Contains(words, "too slow") || !strings.Contains(words, "ended the live stream") {
		t.Errorf("status %d, said %q", code, words)
	}
}

// A server that is just being restarted answers 503; the file is sent again
// from its beginning, and the server recognises what it had.
func TestADeliveryIsRepeatedFromTheBeginning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trail.json")
	if err := os.WriteFile(file, []byte(`{"Records":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/me" {
			fmt.Fprint(w, `{"kind":"source"}`)
			return
		}
		b, _ := io.ReadAll(r.Body)
		if bodies = append(bodies, string(b)); len(bodies) == 1 {
			refuse(w, 503, "starting")
			return
		}
		fmt.Fprint(w, `{"events":3,"duplicate":true}`)
	})
	code, out, words := s.run(t, "replay", file, "--to", s.env["MUSTER_SERVER"], "-o", "json")
	if diff := cmp.Diff([]string{`{"Records":[]}`, `{"Records":[]}`}, bodies); diff != "" || code != 0 || !strings.Contains(words, "trying again") {
		t.Errorf("status %d, said %q (-want +got):\n%s", code, words, diff)
	}
	if !strings.Contains(out, `"events":3`) || !strings.Contains(out, `"duplicate":true`) {
		t.Errorf("printed %q", out)
	}
}

func TestTheNextStepIsSaidWhenATokenIsNoSource(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"kind":"operator"}`) })
	for _, line := range [][]string{{"replay", "cli_test.go", "--to", s.env["MUSTER_SERVER"]}, {"scan", ".", "--report-to", s.env["MUSTER_SERVER"]}} {
		if code, _, words := s.run(t, line...); code != command.WrongUse || !strings.Contains(words, "muster source add") {
			t.Errorf("%v: status %d, said %q", line, code, words)
		}
	}
}

func TestAFileIsADocumentByItsNameOrTheWord(t *testing.T) {
	for _, tt := range []struct{ file, as, want string }{
		{"routes.yaml", "", "routes.yaml"},
		{"/etc/muster/resources.yml", "", "resources.yaml"},
		{"a/trust.production.yaml", "", "trust.yaml"},
		{"policies.cedar", "", "policies.cedar"},
		{"whatever", "trust", "trust.yaml"},
		{"notes.txt", "", ""},
		{"routes.yaml", "nonsense", ""},
	} {
		got, err := command.DocumentOf(tt.file, tt.as)
		var usage command.UsageError
		if got != tt.want || (tt.want == "") != errors.As(err, &usage) {
			t.Errorf("documentOf(%s, %s) = %q, %v; want %q", tt.file, tt.as, got, err, tt.want)
		}
	}
}

func TestImportErrorsNameTheUsersOwnFile(t *testing.T) {
	details := "mine.json"
	files := map[string]*string{"authorization-details": &details, "access-keys": new(string)}
	err := named(fmt.Errorf("send: %w", &client.Error{Status: 422, Detail: "authorization-details: byte 7: no JSON"}), files)
	if want := "mine.json: byte 7: no JSON"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	other := errors.New("access-keys: nothing")
	if got := named(other, files); got != other {
		t.Errorf("got %v, want it as it was", got)
	}
}

func TestSecretsNeverReachTheLog(t *testing.T) {
	scanner, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr { return redacted(scanner, at) }}))
	secret := key.Mint(key.API).Reveal()
	log.Info("message with "+secret, "text", secret, "error", fmt.Errorf("open %s: no", secret), "struct", struct{ Key string }{secret},
		"bytes", []byte(secret), slog.Group("group", "inner", secret), "number", 7)
	log.With("before", secret).Info("again")
	if got := out.String(); strings.Contains(got, secret) || strings.Contains(got, secret[30:]) || strings.Contains(got, "109 117") || !strings.Contains(got, `"number":7`) {
		t.Errorf("the log holds %s", got)
	}
}

func TestInterruptedIsNotDone(t *testing.T) {
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var words bytes.Buffer
	code := Run(ctx, "v1", []string{"credential", "show", "a"}, command.Std{In: strings.NewReader(""), Out: io.Discard, Err: &words, Getenv: func(k string) string { return s.env[k] }})
	if code != command.CouldNot || words.String() != "muster: interrupted\n" {
		t.Errorf("status %d, said %q", code, words.String())
	}
}

// TestNobodyTakesTheNameThatAnotherHasElsewhere has an identity whose name is
// the path of another: whoever means one of them must not get the other.
func TestNobodyTakesTheNameThatAnotherHasElsewhere(t *testing.T) {
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("filter") {
		case `name:"payments/settler"`:
			fmt.Fprint(w, `{"items":[{"id":"nhi_impostor"}]}`)
		case `path:"payments/settler"`, `path:"payments/mailer"`, `native:"payments/mailer"`:
			fmt.Fprint(w, `{"items":[{"id":"nhi_settler"}]}`)
		default:
			fmt.Fprint(w, `{"items":[]}`)
		}
	})
	code, out, words := s.run(t, "identity", "set-owner", "payments/settler", "mara@example.com")
	if code != command.WrongUse || !strings.Contains(words, "nhi_impostor") || !strings.Contains(words, "nhi_settler") {
		t.Errorf("status %d, %q %q, want a refusal that names both", code, out, words)
	}
	if code, _, words := s.run(t, "identity", "set-owner", "payments/mailer", "mara@example.com"); code != 0 {
		t.Errorf("one that is found by two of its names: status %d, %q", code, words)
	}
}

func TestAShellCompletesNames(t *testing.T) {
	var asked []string
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+"?"+r.URL.Query().Get("filter"))
		fmt.Fprint(w, `{"items":[{"id":"nhi_a","name":"settler","kind":"iam-user"},{"id":"nhi_b","name":"set\u001b[2Jup","kind":"x"}]}`)
	})
	for _, line := range [][]string{
		{"identity", "show", "set"},
		{"identity", "set-owner", "set"},
		{"credential", "create", "--identity", "set"},
		{"decide", "list", "--identity", "set"},
	} {
		code, out, _ := s.run(t, append([]string{"__complete"}, line...)...)
		if code != 0 || out != "settler\tiam-user\n:4\n" {
			t.Errorf("%q completes to %q (status %d), want the one name that a terminal can show", line, out, code)
		}
	}
	if want := "/v1/identities?name:set*"; len(asked) != 4 || asked[0] != want {
		t.Errorf("the server was asked %q, want four times %q", asked, want)
	}
	if _, out, _ := s.run(t, "__complete", "identity", "show", `a" -owner:*`); strings.Contains(out, "settler") || len(asked) != 4 {
		t.Errorf("a beginning with quotes was made part of a filter: %q", asked)
	}
	away := shell{env: map[string]string{"MUSTER_SERVER": "http://127.0.0.1:1", "MUSTER_TOKEN": "t"}}
	if _, out, _ := away.run(t, "__complete", "identity", "show", "s"); !strings.HasSuffix(out, ":5\n") {
		t.Errorf("without a server the completion is %q, want an error that the shell swallows", out)
	}
}

func TestADryRunOfAnImportShowsWhatTheServerWouldChange(t *testing.T) {
	var asked []string
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "/preview") {
			_ = json.NewEncoder(w).Encode(client.ImportPreview{
				Identities: client.Difference{New: 3, Changed: 1, Unchanged: 12}, Missing: 2,
				Changes:  []client.Planned{{What: "identity", Change: "changed", ID: "nhi_a", Name: "settler\x1b[2J", Fields: []string{"owner", "labels"}}},
				Problems: []string{"authorization-details:7: no name"},
			})
			return
		}
		fmt.Fprint(w, "{}")
	})
	file := filepath.Join(t.TempDir(), "details.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	line := []string{"inventory", "import", "aws", "--authorization-details", file, "--dry-run"}
	code, out, words := s.run(t, line...)
	for _, want := range []string{"identities", "3", "12", "settler", "owner, labels"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed without %q:\n%s", want, out)
		}
	}
	if code != 0 || strings.Contains(out, "\x1b") || !strings.Contains(words, "nothing was changed") || !strings.Contains(words, file+":7: no name") {
		t.Errorf("status %d, printed %q, said %q", code, out, words)
	}
	if code, out, _ = s.run(t, append(line, "-o", "json")...); code != 0 || !strings.Contains(out, `"missing": 2`) {
		t.Errorf("as JSON: status %d, %s", code, out)
	}
	if slices.Contains(asked, "POST /v1/inventory/imports/aws") {
		t.Errorf("the dry run imported: %v", asked)
	}
}

// A server of an older release has no such route. It must not import instead.
func TestADryRunOfAnImportNeverImportsIntoAnOlderServer(t *testing.T) {
	imported := false
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/inventory/imports/aws":
			imported = true
			fmt.Fprint(w, "{}")
		case r.Method == http.MethodGet:
			fmt.Fprint(w, "{}")
		default:
			refuse(w, http.StatusNotFound, "there is no such route")
		}
	})
	file := filepath.Join(t.TempDir(), "details.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, words := s.run(t, "inventory", "import", "aws", "--authorization-details", file, "--dry-run")
	if imported || code != 3 || !strings.Contains(words, "older release") {
		t.Errorf("imported: %v; status %d, said %q", imported, code, words)
	}
}
