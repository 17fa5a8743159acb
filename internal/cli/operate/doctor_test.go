package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
)

// run runs one command of this room and returns its status and output.
func run(t *testing.T, build func(*command.App) *cobra.Command, env map[string]string, args ...string) (status int, out, words string) {
	t.Helper()
	var o, e bytes.Buffer
	std := command.Std{In: strings.NewReader(""), Out: &o, Err: &e, Getenv: func(name string) string { return env[name] }}
	status = command.Run(t.Context(), "test", args, std, func(a *command.App) *cobra.Command {
		c := build(a)
		c.SilenceErrors, c.SilenceUsage = true, true // as the root of the program does
		return c
	})
	return status, o.String(), e.String()
}

// doctor returns what doctor finds.
func doctor(t *testing.T, env map[string]string, args ...string) []Ailment {
	t.Helper()
	status, out, words := run(t, Doctor, env, append(args, "-o", "json")...)
	var found []Ailment
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("status %d: %v: %s%s", status, err, out, words)
	}
	if want := map[bool]int{true: 1, false: 0}[len(found) > 0]; status != want {
		t.Errorf("status is %d with %d ailments, want %d", status, len(found), want)
	}
	for _, f := range found {
		if f.Cure == "" {
			t.Errorf("%s: %s has no cure", f.Check, f.Problem)
		}
	}
	return found
}

func has(found []Ailment, check, problem string) bool {
	for _, f := range found {
		if f.Check == check && strings.Contains(f.Problem, problem) {
			return true
		}
	}
	return false
}

// free is an address that nobody uses.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// install makes a data folder and a configuration file; both are good, but for
// the place where the tests run.
func install(t *testing.T, text string) (data, file string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "muster.yaml")
	base := fmt.Sprintf("listen: %s\nops_listen: %s\next_authz_listen: off\nenvironments: [{name: p, class: production, accounts: ['1']}]\n", free(t), free(t))
	if err := os.WriteFile(file, []byte(base+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return data, file
}

func put(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorFindsEachMistakeOfAMachine(t *testing.T) {
	for _, tt := range []struct {
		name, text     string
		spoil          func(t *testing.T, data, file string)
		check, problem string
	}{
		{"a misspelt key", "gards: {}\n", nil, "configuration", `did you mean "guards"?`},
		{"a certificate that is not there", "tls: {cert: no.pem, key: no.key}\n", nil, "configuration", "there is no file"},
		{"a folder that is not there", "", func(t *testing.T, data, _ string) { must(t, os.Remove(data)) }, "data folder", "no such file"},
		{"a folder that others read", "", func(t *testing.T, data, _ string) { must(t, os.Chmod(data, 0o755)) }, "data folder", "mode 0755"},
		{"keys in clear", "", func(t *testing.T, data, _ string) {
			_, err := seal.Open(t.Context(), filepath.Join(data, "keys.json"))
			must(t, err)
		}, "keys", "in clear"},
		{"keys that others read", "", func(t *testing.T, data, _ string) {
			_, err := seal.Open(t.Context(), filepath.Join(data, "keys.json"))
			must(t, err)
			must(t, os.Chmod(filepath.Join(data, "keys.json"), 0o644))
		}, "keys", "open to others"},
		{"lost keys", "", func(t *testing.T, data, _ string) { put(t, filepath.Join(data, "muster.db"), "x", time.Now()) }, "keys", "is missing"},
		{"a clock that was set back", "", func(t *testing.T, data, _ string) {
			put(t, filepath.Join(data, "muster.db"), "x", time.Now().Add(time.Hour))
		}, "clock", "set back"},
		{"the first token", "", func(t *testing.T, data, _ string) { put(t, filepath.Join(data, "admin.token"), "x", time.Now()) }, "administrator token", "alive"},
		{"no environments", "environments: []\n", func(t *testing.T, _, file string) { must(t, os.WriteFile(file, nil, 0o600)) }, "environments", "no account is mapped"},
		{"a public URL that leads nowhere", "public_url: http://127.0.0.1:1\n", nil, "public URL", "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, file := install(t, tt.text)
			if tt.name != "no environments" {
				if found := doctor(t, nil, "--data", data, "--config", file); tt.spoil != nil && has(found, tt.check, tt.problem) {
					t.Fatalf("found before it was there: %+v", found)
				}
			}
			if tt.spoil != nil {
				tt.spoil(t, data, file)
			}
			if found := doctor(t, nil, "--data", data, "--config", file); !has(found, tt.check, tt.problem) {
				t.Errorf("no %s with %q in %+v", tt.check, tt.problem, found)
			}
		})
	}
}

// Whoever names only the folder must not be told to write what the file that
// was not named may hold.
func TestDoctorAsksForTheConfigurationThatWasNotNamed(t *testing.T) {
	data, file := install(t, "")
	if cure := cured(doctor(t, nil, "--data", data), "environments", "no configuration file was named"); !strings.Contains(cure, "--config FILE") {
		t.Errorf("without --config the cure is %q", cure)
	}
	if found := doctor(t, nil, "--data", data, "--config", file); has(found, "environments", "") {
		t.Errorf("with it: %+v", found)
	}
	must(t, os.WriteFile(file, nil, 0o600))
	if cure := cured(doctor(t, nil, "--data", data, "--config", file), "environments", "no account is mapped"); !strings.Contains(cure, file) || strings.Contains(cure, "--config") {
		t.Errorf("with a file that has no rules the cure is %q", cure)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDoctorFindsAPortThatIsTaken(t *testing.T) {
	data, file := install(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	found := doctor(t, map[string]string{"MUSTER_LISTEN": l.Addr().String()}, "--data", data, "--config", file)
	if !has(found, "ports", "address already in use") {
		t.Errorf("found %+v", found)
	}
}

func TestDoctorAsksTheServerOfTheMachine(t *testing.T) {
	var r health.Register
	r.Started()
	r.Add(health.Check{Name: "stream", State: func(context.Context) health.State { return health.Failed("no quorum", "start the other nodes") }})
	srv := httptest.NewServer(&r)
	defer srv.Close()
	data, file := install(t, "")
	found := doctor(t, map[string]string{"MUSTER_OPS_LISTEN": strings.TrimPrefix(srv.URL, "http://")}, "--data", data, "--config", file)
	if !has(found, "stream", "failed: no quorum") || has(found, "ports", "") {
		t.Errorf("found %+v", found)
	}
}

func TestDoctorFindsAnAddressThatSomebodyElseAnswers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"https://other.example.com"}`))
	}))
	defer srv.Close()
	data, file := install(t, "public_url: "+srv.URL+"\n")
	if found := doctor(t, nil, "--data", data, "--config", file); !has(found, "public URL", "somebody else") {
		t.Errorf("found %+v", found)
	}
}

func TestDoctorFindsWhatAServerKnows(t *testing.T) {
	old := time.Now().Add(-40 * 24 * time.Hour).UTC().Format(time.RFC3339)
	fresh := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	replies := map[string]string{
		"/v1/overview": `{"identities":10,"unowned":9,"unlogged":2,"geo_stale":true,"geo_built":"` + old + `","points":[{"name":"edge","mode":"observe","created":"` + old + `"},
			{"name":"gone","mode":"enforce","created":"` + old + `","last_call":"` + old + `"},{"name":"off","mode":"observe","created":"` + old + `","disabled":true},
			{"name":"new","mode":"observe","created":"` + fresh + `"},{"name":"busy","mode":"enforce","created":"` + old + `","last_call":"` + fresh + `"}]}`,
		"/v1/sources": `{"items":[{"name":"trail","created":"` + old + `","health":{"since":"` + old + `"}},
			{"name":"audit","created":"` + old + `","health":{"since":"` + old + `","last":"` + old + `"}},
			{"name":"broken","created":"` + old + `","health":{"since":"` + old + `","error":"no records"}}]}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(replies[r.URL.Path]))
	}))
	defer srv.Close()
	found := doctor(t, map[string]string{"MUSTER_TOKEN": "muster_tok"}, "--server", srv.URL)
	for _, want := range []struct{ check, problem string }{
		{"owners", "9 of 10 identities have no owner"}, {"journal", "2 decisions"}, {"network data", "table of networks"},
		{"points", "edge has only observed for 40 days"}, {"points", "edge has never asked since it was enrolled"}, {"points", "gone has not asked for 40 days"}, {"sources", "trail has sent nothing"}, {"sources", "audit has been quiet"}, {"sources", "broken was not taken in"},
	} {
		if !has(found, want.check, want.problem) {
			t.Errorf("no %s with %q in %+v", want.check, want.problem, found)
		}
	}
	for _, name := range []string{"off", "new", "busy"} {
		if has(found, "points", name) {
			t.Errorf("point %s is told of, and nothing is wrong with it: %+v", name, found)
		}
	}
}

// spoiled runs this test once more in a process of its own, which do may spoil.
func spoiled(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	const variable = "DOCTOR_TEST_AGAIN"
	if os.Getenv(variable) != "" {
		do(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// cured returns the cure of what was found.
func cured(found []Ailment, check, problem string) string {
	for _, f := range found {
		if f.Check == check && strings.Contains(f.Problem, problem) {
			return f.Cure
		}
	}
	return ""
}

func TestDoctorFindsALowLimitOfOpenFiles(t *testing.T) {
	spoiled(t, func(t *testing.T) {
		data, file := install(t, "")
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: 1024}))
		found := doctor(t, nil, "--data", data, "--config", file)
		if cure := cured(found, "limits", "may open 1024 files only"); !strings.Contains(cure, "LimitNOFILE=") {
			t.Errorf("cure %q in %+v", cure, found)
		}
	})
}

func TestDoctorFindsAFolderOfSomebodyElse(t *testing.T) {
	spoiled(t, func(t *testing.T) {
		if os.Getuid() == 0 {
			must(t, syscall.Setuid(65534)) // root may use every folder
		}
		found := doctor(t, nil, "--data", "/etc")
		if cure := cured(found, "data folder", fmt.Sprintf("/etc belongs to user 0, and you are %d", os.Getuid())); !strings.Contains(cure, "chown") {
			t.Errorf("cure %q in %+v", cure, found)
		}
		if cure := cured(found, "data folder", "this user may not write in /etc"); !strings.Contains(cure, "chown") {
			t.Errorf("cure %q in %+v", cure, found)
		}
	})
}

func TestDoctorFindsAnOldTableOfNetworks(t *testing.T) {
	e := &examination{now: time.Now().Add(geo.MaxAge + 366*24*time.Hour)}
	e.networks()
	if cure := cured(e.found, "network data", "the table of networks of this program is from"); !strings.Contains(cure, "newer release") {
		t.Errorf("cure %q in %+v", cure, e.found)
	}
	e = &examination{}
	if e.networks(); len(e.found) != 0 {
		t.Errorf("in the past: %+v", e.found)
	}
}

// The page that lists the likely mistakes names a test of each.
func TestEveryLikelyMistakeHasItsTest(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/doctor.md")
	must(t, err)
	tests, err := os.ReadFile("doctor_test.go")
	must(t, err)
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\|.*\\| `(Test\\w+)` \\|$").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 10 {
		t.Errorf("%d likely mistakes are listed, want ten at least", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(string(tests), "func "+row[2]+"(") {
			t.Errorf("mistake %s names %s, which is no test here", row[1], row[2])
		}
	}
}

func TestDoctorFindsNoPointsAndNothingKnown(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"points":[],"items":[]}`))
	}))
	defer srv.Close()
	found := doctor(t, map[string]string{"MUSTER_TOKEN": "muster_tok"}, "--server", srv.URL)
	if !has(found, "points", "nothing is protected") || !has(found, "inventory", "nothing is known") {
		t.Errorf("found %+v", found)
	}
}

func TestDoctorWithoutAnythingToLookAtSaysSo(t *testing.T) {
	if status, _, words := run(t, Doctor, nil); status != 2 || !strings.Contains(words, "nothing to look at") {
		t.Errorf("%d %s", status, words)
	}
}

func TestConfigCheckPrintExplain(t *testing.T) {
	_, file := install(t, "gards: {}\n")
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"check", file}, 1, `did you mean "guards"?`},
		{[]string{"check", file + ".missing"}, 3, ""},
		{[]string{"explain", "risk_deny"}, 0, "MUSTER_GUARDS_RISK_DENY"},
		{[]string{"explain", "guards.risk_denny"}, 2, ""},
		{[]string{"print", "--effective"}, 0, "risk_deny: 80 # default"},
		{[]string{"print", file}, 2, ""},
		{[]string{"schema"}, 0, "json-schema.org"},
	} {
		status, out, words := run(t, Config, nil, tt.args...)
		if status != tt.status || !strings.Contains(out, tt.want) {
			t.Errorf("config %v: %d, want %d with %q: %s%s", tt.args, status, tt.status, tt.want, out, words)
		}
	}
}
