package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

// A ground is what a server stands on beside its data folder: it returns the
// variables that say so, the same for the same data folder.
type ground func(data string) []string

type groundKey struct{}

// TestScripts plays every script on what needs no set-up: SQLite and a stream
// in the data folder.
func TestScripts(t *testing.T) {
	play(t, nil, func(string) []string { return nil })
}

// database puts the address of an empty database in PostgreSQL into a variable.
func database(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		want(ts, neg, args, 1, "database NAME")
		ts.Setenv(args[0], pgtest.Database(t))
	}
}

// conditions are what [postgres] in a script means. In CI it must be there.
func conditions(name string) (bool, error) {
	if name != "postgres" {
		return false, fmt.Errorf("unknown condition %s", name)
	}
	if pgtest.Bin() != "" {
		return true, nil
	}
	if os.Getenv("CI") != "" || os.Getenv("MUSTER_NEED_POSTGRES") != "" {
		return false, errors.New("PostgreSQL's programs are not installed")
	}
	return false, nil
}

// TestScriptsOnPostgreSQL plays the scripts that have a server with the state
// in PostgreSQL.
func TestScriptsOnPostgreSQL(t *testing.T) {
	play(t, serving(t), onPostgreSQL(t))
}

// TestScriptsOnPostgreSQLAndACluster plays them with the stream in a cluster of
// three NATS servers as well.
func TestScriptsOnPostgreSQLAndACluster(t *testing.T) {
	urls := strings.Join(natstest.URLs(natstest.Cluster(t)...), ",")
	database := onPostgreSQL(t)
	play(t, serving(t), func(data string) []string {
		sum := sha256.Sum256([]byte(data))
		return append(database(data), "MUSTER_STREAM_URLS="+urls, "MUSTER_STREAM_PREFIX="+hex.EncodeToString(sum[:8]))
	})
}

// onPostgreSQL gives each data folder a database of its own.
func onPostgreSQL(t *testing.T) ground {
	pgtest.Need(t)
	var mu sync.Mutex // guards of
	of := map[string]string{}
	return func(data string) []string {
		mu.Lock()
		defer mu.Unlock()
		if of[data] == "" {
			of[data] = pgtest.Database(t)
		}
		return []string{"MUSTER_STORE_URL=" + of[data]}
	}
}

// serving lists the scripts in which a server runs.
func serving(t *testing.T) []string {
	t.Helper()
	all, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, entry := range all {
		if !strings.HasSuffix(entry.Name(), ".txtar") {
			continue
		}
		script, err := os.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(script), "\nserve ") && !strings.HasPrefix(string(script), "# Only on SQLite") {
			out = append(out, entry.Name())
		}
	}
	if len(out) < 5 {
		t.Fatalf("only %d scripts have a server: %v", len(out), out)
	}
	return out
}

// play plays the named scripts, all when there are no names.
func play(t *testing.T, names []string, on ground) {
	p := testscript.Params{
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Condition:          conditions,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("HOME", e.WorkDir)
			e.Values[groundKey{}] = on
			return nil
		},
		Cmds: commands(t),
	}
	if p.Files = names; names == nil {
		p.Dir = "."
	}
	testscript.Run(t, p)
}

// commands are those of ours.
func commands(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"status": status, "capture": capture, "serve": serve, "database": database(t), "halt": halt, "plant": plant, "embed": embed, "trail": trail,
		"perm": perm, "absent": absent, "cut": cut, "flip": flip, "append": appendLine, "copy": copyFolder, "forge": forge, "hostile": hostile,
		"field": field, "eventually": eventually, "ask": ask, "watching": watching, "watched": watched,
		"world": world, "besiege": besiege, "answers": answers, "page": page, "harmless": harmless, "exactly": exactly, "receiver": receiver, "noticed": noticed, "accuse": accuse, "delivered": delivered,
	}
}

// theirs are the commands of testscript itself, which it prefers to ours.
const theirs = " cd chmod cmp cmpenv cp env exec exists grep kill mkdir mv rm skip stderr stdin stdout stop symlink ttyin ttyout unix2dos unquote wait "

// TestEveryScriptIsPlayedToItsEnd guards against a script that passes because
// it was never played: testscript's own stop ends it there, and a command of
// ours by a name that testscript has is never called.
func TestEveryScriptIsPlayedToItsEnd(t *testing.T) {
	for name := range commands(t) {
		if strings.Contains(theirs, " "+name+" ") {
			t.Errorf("%s is a command of testscript's, so ours is never called: give it another name", name)
		}
	}
	scripts, err := filepath.Glob("*.txtar")
	if err != nil || len(scripts) < 10 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	ends := regexp.MustCompile(`(?m)^(\[[^]]*\] *)?stop\b|^skip\b`)
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ")
		if at := ends.FindString(script); at != "" {
			t.Errorf("%s: %q ends it, and what follows is never played; the server is stopped by halt", file, at)
		}
	}
}
