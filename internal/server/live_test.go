package server

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/config"
)

// configurable starts a server on a file, which the returned function rewrites
// and has read again.
func configurable(t *testing.T, text string) (*running, func(text string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "muster.yaml")
	write := func(text string) {
		t.Helper()
		// In one step: the last reload may still be reading.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(text + "\n")
	read := func() (config.Config, error) {
		l, err := config.Read(path, nil)
		if err != nil {
			return l.Config, err
		}
		l.Flags(map[string]string{"listen": "127.0.0.1:0", "ops_listen": "127.0.0.1:0", "ext_authz_listen": "off"})
		return l.Config, l.Check()
	}
	again := make(chan os.Signal)
	r := startWith(t, t.TempDir(), func(s *Settings) {
		cfg, err := read()
		if err != nil {
			t.Fatal(err)
		}
		s.Config, s.Reload, s.ConfigFile, s.Again = cfg, read, path, again
	})
	return r, func(text string) {
		t.Helper()
		write(text)
		again <- syscall.SIGHUP // taken once the one before is done
		again <- syscall.SIGHUP
	}
}

func readyz(t *testing.T, r *running) string {
	t.Helper()
	res, err := http.Get(r.OpsURL() + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAChangedConfigurationIsTakenUpWhileRunning(t *testing.T) {
	r, change := configurable(t, "guards: {risk_deny: 80}\n")
	change("guards: {risk_deny: 55}\nowner_tags: [squad]\nenvironments: [{name: p, class: production, accounts: ['1']}]\nretention: {age: 48h}\ndecisions: {max_facts_age: 1m}\napprovals: {two_from: 3, life: 5m}\n")
	c := r.reloader.Current()
	if c.Guards.RiskDeny != 55 || c.OwnerTags[0] != "squad" || c.Retention.Age != 48*time.Hour {
		t.Errorf("in force is %+v", c)
	}
	if got := r.desk.Settings(); got.TwoFrom != 3 || got.Life != 5*time.Minute {
		t.Errorf("people are asked by %+v", got)
	}
	if got := r.reloader.Status(); !got.OK || len(got.Restart) > 0 {
		t.Errorf("status is %+v", got)
	}
	if text := readyz(t, r); !strings.Contains(text, "\nconfig: ok\n") {
		t.Errorf("readyz says\n%s", text)
	}
}

func TestWhatOnlyARestartTakesUpIsNamed(t *testing.T) {
	r, change := configurable(t, "")
	change("journal_reserve: 1048576\nguards: {risk_deny: 70}\n")
	if c := r.reloader.Current(); c.JournalReserve == 1048576 || c.Guards.RiskDeny != 70 {
		t.Errorf("in force is %+v", c)
	}
	if text := readyz(t, r); !strings.Contains(text, "config: degraded: changes wait for a restart: journal_reserve; restart the server") {
		t.Errorf("readyz says\n%s", text)
	}
}

func TestABadFileKeepsTheOldConfigurationAndIsVisible(t *testing.T) {
	r, change := configurable(t, "guards: {risk_deny: 61}\n")
	for _, bad := range []string{"guards: {risk_denny: 10}\n", "guards: {risk_deny: 900}\n", "\x00", "guards: {risk_deny: 12}\nnotify: [{name: n, url: 'https://x.example/h', secret_file: missing}]\n"} {
		change(bad)
		if got := r.reloader.Current().Guards.RiskDeny; got != 61 {
			t.Errorf("after %q risk_deny is %d", bad, got)
		}
		if text := readyz(t, r); !strings.HasPrefix(text, "ready\n") || !strings.Contains(text, "config: degraded: the changed configuration is not in force") {
			t.Errorf("after %q readyz says\n%s", bad, text)
		}
	}
	change("guards: {risk_deny: 62}\n")
	if text := readyz(t, r); r.reloader.Current().Guards.RiskDeny != 62 || !strings.Contains(text, "config: ok") {
		t.Errorf("mended: %s", text)
	}
}

func TestAChangedFileIsNoticedWithoutASignal(t *testing.T) {
	t.Parallel()
	r, _ := configurable(t, "")
	if err := os.WriteFile(r.settings.ConfigFile, []byte("guards: {risk_deny: 44}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until("the file to be read again", func() bool { return r.reloader.Current().Guards.RiskDeny == 44 })
}

func TestNoRequestIsLostWhileTheConfigurationChanges(t *testing.T) {
	r, change := configurable(t, "")
	var asked, failed atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				res, err := http.Get(r.URL() + "/.well-known/openid-configuration")
				if err != nil || res.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		})
	}
	for i := range 20 {
		change(strings.Replace("guards: {risk_deny: N}\nretention: {age: Nh}\n", "N", string(rune('1'+i%9))+"0", -1))
	}
	close(stop)
	all.Wait()
	if failed.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}
