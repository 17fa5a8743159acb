package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

// A site is a small installation: a point that enforces, a key, a resource that
// is hardly sensitive and one that is very, and a source of logs.
type site struct {
	*child
	point, key string
	api, logs  *client.Client
	http       *http.Client

	mu      sync.Mutex      // guards the rest
	allowed map[string]bool // ids of decisions that had to be on record first
	sent    int             // records of the log that were acknowledged
}

const (
	low  = "/board/1" // sensitivity 1
	high = "/vault/1" // sensitivity 3: an allow waits for its record

	siteSettings  = "guards: {sensitivity_bound: 5}\n" // a key alone reaches the vault
	siteResources = "- {id: board, environment: production, sensitivity: 1}\n- {id: vault, environment: production, sensitivity: 3}\n"
	siteRoutes    = "- {host: api.example.com, path: \"/board/{id}\", methods: {GET: read}, resource: board}\n" +
		"- {host: api.example.com, path: \"/vault/{id}\", methods: {GET: read}, resource: vault}\n"
	siteAccount = "210987654321"
)

func furnish(t *testing.T, c *child) *site {
	t.Helper()
	s := &site{child: c, api: c.operator(t), allowed: map[string]bool{}, http: &http.Client{Timeout: 30 * time.Second}}
	for name, body := range map[string]string{"resources.yaml": siteResources, "routes.yaml": siteRoutes} {
		if err := s.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var point, source client.Enrolled
	var who client.Identity
	var key client.NewCredential
	mode := "enforce"
	for _, call := range []struct {
		method, path   string
		request, reply any
	}{
		{http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge"}, &point},
		{http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: &mode}, nil},
		{http.MethodPost, "/v1/sources", client.AddSource{Name: "trail", Format: "cloudtrail", Accounts: []string{siteAccount}}, &source},
		{http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &who},
	} {
		if err := s.api.Send(t.Context(), call.method, call.path, call.request, call.reply); err != nil {
			t.Fatalf("%s: %v", call.path, err)
		}
	}
	if err := s.api.Send(t.Context(), http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key); err != nil {
		t.Fatal(err)
	}
	s.point, s.key, s.logs = point.Key, key.Key, c.as(t, source.Key)
	s.answers(t, "while all is well", http.StatusOK, http.StatusOK)
	s.deliver(t)
	return s
}

// ask asks as nginx does. Every question is answered, whatever is wrong.
func (s *site) ask(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/enforce/forward-auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Muster-Point-Authorization": "Bearer " + s.point, "Authorization": "Bearer " + s.key, "X-Original-Method": "GET", "X-Original-URI": path,
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7", "User-Agent": "curl/8.5.0",
	} {
		req.Header.Set(name, value)
	}
	res, err := s.http.Do(req)
	if err != nil {
		t.Errorf("a decision about %.20s: %v", path, err)
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode == http.StatusOK && strings.HasPrefix(path, "/vault/") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.allowed[res.Header.Get("Muster-Decision")] = true
	}
	return res.StatusCode
}

func (s *site) answers(t *testing.T, when string, wantLow, wantHigh int) {
	t.Helper()
	for path, want := range map[string]int{low: wantLow, high: wantHigh} {
		if got := s.ask(t, path); got != want {
			t.Errorf("%s %s is answered %d, want %d", when, path, got, want)
		}
	}
}

// send sends one record of a log.
func (s *site) send(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	record := fmt.Sprintf(`{"Records":[{"eventVersion":"1.09","eventID":"event-%d","eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-west-1",
		"sourceIPAddress":"203.0.113.7","userAgent":"aws-cli/2.15","eventType":"AwsApiCall","recipientAccountId":%q,
		"userIdentity":{"type":"IAMUser","principalId":"AIDAQ3EGRZ4KSETTLERSE","arn":"arn:aws:iam::%s:user/settler","accountId":%q,"userName":"settler"}}]}`,
		s.sent, time.Now().UTC().Format(time.RFC3339), siteAccount, siteAccount, siteAccount)
	_, err := s.logs.ReceiveLogs(ctx, "cloudtrail", strings.NewReader(record))
	if err == nil {
		s.sent++
	}
	return err
}

// deliver sends a record until it is taken.
func (s *site) deliver(t *testing.T) {
	t.Helper()
	var err error
	s.until(t, "a log to be taken", func() bool { err = s.send(t.Context()); return err == nil }, func() any { return err })
}

// refuses wants a log to be refused in a way that its sender tries again.
func (s *site) refuses(t *testing.T) {
	t.Helper()
	var refused *client.Error
	if err := s.send(t.Context()); !errors.As(err, &refused) || (refused.Status != http.StatusTooManyRequests && refused.Status != http.StatusServiceUnavailable) {
		t.Errorf("a log is answered %v, want 429 or 503", err)
	}
}

// unchangeable wants changes to be refused with a word about why. Some may find
// room where the database had some before.
func (s *site) unchangeable(t *testing.T, why string) {
	t.Helper()
	var refused *client.Error
	var err error
	for n := 0; err == nil && n < 5000; n++ {
		err = s.api.Send(t.Context(), http.MethodPost, "/v1/identities", client.CreateIdentity{Name: fmt.Sprint("late-", n), Environment: "production"}, nil)
	}
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || !strings.Contains(err.Error(), why) {
		t.Errorf("a change is answered %v, want 503 and %q", err, why)
	}
}

// readyz is the list of states, by check.
func (s *site) readyz(t *testing.T) (int, map[string]string) {
	t.Helper()
	res, err := http.Get(s.ops + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if name, state, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			states[name] = state
		}
	}
	return res.StatusCode, states
}

// shows waits until a check has a state that begins so and says each of words.
func (s *site) shows(t *testing.T, check, state string, words ...string) {
	t.Helper()
	var last string
	s.until(t, check+": "+state, func() bool {
		_, states := s.readyz(t)
		last = states[check]
		ok := strings.HasPrefix(last, state)
		for _, w := range words {
			ok = ok && strings.Contains(last, w)
		}
		return ok
	}, func() any { return last })
}

// well waits until the server is ready and nothing is failed or degraded but
// what is named.
func (s *site) well(t *testing.T, except ...string) {
	t.Helper()
	var last map[string]string
	s.until(t, "all to be well", func() bool {
		code, states := s.readyz(t)
		last = states
		for _, name := range except {
			delete(states, name)
		}
		for _, state := range states {
			if state != "ok" {
				return false
			}
		}
		return code == http.StatusOK
	}, func() any { return last })
}

func (s *site) until(t *testing.T, what string, there func() bool, instead func() any) {
	t.Helper()
	limit, tick := time.After(90*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s, there is %v; the server said:\n%.6000s", what, instead(), s.out)
		}
	}
}

// nothingLost stops the server and looks whether all that was acknowledged is
// there: records of the log learned once, decisions on record, acts proven.
func (s *site) nothingLost(t *testing.T) {
	t.Helper()
	var l client.Learned
	var err error
	s.until(t, "the log to be learned", func() bool {
		err = s.api.Get(t.Context(), "/v1/identities/"+string(nhi.IdentityID("aws", siteAccount, "AIDAQ3EGRZ4KSETTLERSE"))+"/normal", nil, &l)
		return err == nil && int(l.Events) == s.sent
	}, func() any { return fmt.Sprintf("%d of %d, %v", l.Events, s.sent, err) })
	s.stop(t)
	found := map[string]int{}
	for rec, err := range journal.Read(filepath.Join(s.data, "decisions"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := logbook.Decode(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		found[d.ID]++
	}
	for id := range s.allowed {
		if found[id] != 1 {
			t.Errorf("the allow %s is %d times on record", id, found[id])
		}
	}
	if out, err := exec.CommandContext(t.Context(), muster, "audit", "verify", "--data", s.data).CombinedOutput(); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

const fullVariable = "CHAOS_TEST_FULL"

// onASmallDisk runs do with a folder on a file system of its own, in a process
// in name spaces of its own.
func onASmallDisk(t *testing.T, do func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(fullVariable); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4g"); err != nil {
			t.Fatalf("mount refused: %v", err)
		}
		do(t, dir)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir(), builtVariable+"="+muster)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || strings.Contains(string(out), "mount refused") {
		if os.Getenv("CI") != "" {
			t.Fatalf("this system does not let a test mount a file system, so a full disk was not tested: %v", err)
		}
		t.Skipf("this system does not let a test mount a file system: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// shrink makes a disk as small as what lies on it: nothing more fits.
func shrink(t *testing.T, dir string) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		used := (fs.Blocks - fs.Bfree) * uint64(fs.Bsize)
		err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", used))
		if err == nil {
			return
		}
		if time.Now().After(limit) { // somebody writes all the time
			t.Fatalf("make the disk small: %v", err)
		}
	}
}

func TestOnAFullDiskDecisionsGoOnUntilTheReserveIsSpentAndRecoverByThemselves(t *testing.T) {
	onASmallDisk(t, func(t *testing.T, dir string) {
		c := newChild(t)
		c.data, c.settings = filepath.Join(dir, "data"), siteSettings+"journal_reserve: 1\n" // raised to the smallest that works
		c.start(t)
		s := furnish(t, c)
		s.well(t, "keys", "admin token")

		shrink(t, dir)
		s.shows(t, "disk", "failed: ", "MB left; events are refused and decisions live on their reserve; make room")
		s.shows(t, "stream", "failed: ", "events are refused and wait at their senders, decisions go on; make room on the disk")
		s.refuses(t)
		s.answers(t, "on a full disk", http.StatusOK, http.StatusOK)

		// Records of 5 KB spend the reserve of 1 MB soon.
		long := high + strings.Repeat("x", 5000)
		refused := 0
		for n := 0; refused == 0 && n < 2000; n++ {
			switch got := s.ask(t, long); got {
			case http.StatusOK:
			case http.StatusForbidden:
				refused++
			default:
				t.Fatalf("on a full disk the vault is answered %d", got)
			}
			if n == 20 {
				s.shows(t, "journal", "degraded: the disk is full: decisions are recorded on the reserve", "make room on the disk")
			}
		}
		s.shows(t, "journal", "failed: decisions cannot be recorded, so what must be recorded first is denied", "make room on the disk; the server takes its reserve back by itself")
		if code, _ := s.readyz(t); code != http.StatusServiceUnavailable {
			t.Errorf("/readyz is %d while nothing can be recorded, want 503", code)
		}
		s.answers(t, "with the reserve spent", http.StatusOK, http.StatusForbidden)
		s.unchangeable(t, "make room")

		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4g"); err != nil {
			t.Fatal(err)
		}
		// Nobody asks meanwhile: who is not ready may not be asked.
		s.shows(t, "journal", "degraded: ", "decisions since the start could not be recorded")
		s.well(t, "keys", "journal")
		s.answers(t, "with room again", http.StatusOK, http.StatusOK)
		s.deliver(t)
		s.nothingLost(t)
	})
}

func TestAFolderThatMayNotBeWrittenIsSaidAndDecisionsGoOn(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "muster-readonly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := newChild(t)
	c.data, c.settings = filepath.Join(dir, "data"), siteSettings
	if os.Getuid() == 0 { // whom no permission stops
		c.user = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(c.data, 0o700), os.Chown(c.data, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	c.start(t)
	s := furnish(t, c)
	folders := []string{c.data, filepath.Join(c.data, "decisions"), filepath.Join(c.data, "audit")}
	chmod := func(mode os.FileMode) {
		for _, folder := range folders {
			if err := os.Chmod(folder, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	chmod(0o500)
	t.Cleanup(func() { chmod(0o700) })
	s.shows(t, "disk", "failed: this user may not write in "+c.data, "give the folder to the user that runs the server (chown) with mode 0700")
	s.answers(t, "without the right to write", http.StatusOK, http.StatusOK)
	chmod(0o700)
	s.well(t, "keys")
	s.answers(t, "with the right to write", http.StatusOK, http.StatusOK)
	s.deliver(t)
	s.nothingLost(t)

	// A start says what to do, too.
	chmod(0o500)
	refusesToStart(t, c, "this user may not write in "+c.data+": give the folder to the user that runs the server (chown) with mode 0700")
}

func TestADiskThatIsMountedReadOnlyIsSaidAtTheStart(t *testing.T) {
	onASmallDisk(t, func(t *testing.T, dir string) {
		c := newChild(t)
		c.data = filepath.Join(dir, "data")
		c.start(t)
		c.stop(t)
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		refusesToStart(t, c, "the disk of "+c.data+" is mounted read-only: see the kernel's log for why, repair it, and mount it for writing")
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		c.start(t)
		c.stop(t)
	})
}

// refusesToStart wants a server that ends with status 3 and says so.
func refusesToStart(t *testing.T, c *child, want string) {
	t.Helper()
	cmd := c.command(t)
	cmd.Env = append(os.Environ(), c.env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), want) {
		t.Errorf("the start ended with %v, want status 3 and %q:\n%s", err, want, out)
	}
}

// certificate writes a certificate for 127.0.0.1 that ends at a time.
func certificate(t *testing.T, folder string, until time.Time) (authority []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, template(now, until), template(now, until), key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), "tls.crt": authority} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return authority
}

func template(now, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-240 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
}

// trusting is a client that believes one authority, at a time.
func trusting(authority []byte, at time.Time) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Time: func() time.Time { return at }},
	}}
}

func TestAnExpiredCertificateIsSaidAndReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	c := newChild(t)
	c.settings = siteSettings
	c.start(t)
	s := furnish(t, c)
	s.stop(t)
	folder := filepath.Dir(c.data)
	expired := certificate(t, folder, time.Now().Add(-time.Hour))
	c.settings += "tls: {cert: tls.crt, key: tls.key}\n"
	c.url = strings.Replace(c.url, "http://", "https://", 1)
	c.start(t)
	s.shows(t, "tls", "failed: the certificate expired on ", "put the new certificate into "+filepath.Join(folder, "tls.crt"), "no restart is needed")
	if code, _ := s.readyz(t); code != http.StatusOK {
		t.Errorf("/readyz is %d with an expired certificate, want 200: it decides for whoever still asks", code)
	}
	// Who looks at the date does not ask; who has an older clock is answered.
	if res, err := trusting(expired, time.Now()).Get(c.url + "/openapi.json"); err == nil {
		res.Body.Close()
		t.Error("a caller that looks at the date connects to an expired certificate")
	}
	s.http = trusting(expired, time.Now().Add(-2*time.Hour))
	s.answers(t, "with an expired certificate", http.StatusOK, http.StatusOK)

	s.http = trusting(certificate(t, folder, time.Now().Add(240*time.Hour)), time.Now())
	s.well(t, "keys")
	s.answers(t, "with a new certificate", http.StatusOK, http.StatusOK)
	c.stop(t)
}

func TestWithoutAQuorumOfNATSDecisionsGoOnAndLogsWait(t *testing.T) {
	t.Parallel()
	nodes := natstest.Cluster(t)
	c := newChild(t)
	c.settings, c.env = siteSettings, []string{"MUSTER_STREAM_URLS=" + strings.Join(natstest.URLs(nodes...), ",")}
	c.start(t)
	s := furnish(t, c)
	s.well(t, "keys")
	for _, n := range nodes[1:] {
		n.Kill()
	}
	s.shows(t, "stream", "failed: ", "events are refused and wait at their senders, decisions go on")
	s.answers(t, "without a quorum", http.StatusOK, http.StatusOK)
	s.refuses(t)
	code, states := s.readyz(t)
	if state := states["stream"]; code != http.StatusOK || !strings.Contains(state, "start") {
		t.Errorf("/readyz is %d and says of the stream %q, want 200 and what to start", code, state)
	}
	for _, n := range nodes[1:] {
		n.Start(t)
	}
	s.well(t, "keys")
	s.deliver(t)
	s.answers(t, "with a quorum", http.StatusOK, http.StatusOK)
	s.nothingLost(t)
}

func TestWithoutPostgreSQLDecisionsGoOnUntilTheFactsAreOld(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, true)
	db.Create(t, "muster")
	c := newChild(t)
	c.settings, c.env = siteSettings, []string{"MUSTER_STORE_URL=" + db.URL("muster")}
	c.start(t)
	s := furnish(t, c)
	s.well(t, "keys")
	db.Stop()
	s.shows(t, "store", "failed: ", "decisions go on from memory, and nothing can be changed; bring the database back")
	s.answers(t, "without the database", http.StatusOK, http.StatusOK)
	s.unchangeable(t, "cannot be reached")
	if code, _ := s.readyz(t); code != http.StatusOK {
		t.Errorf("/readyz is %d without the database, want 200", code)
	}
	// Facts that may not become this old; a reload takes it up.
	c.settings += "decisions: {max_facts_age: 1s}\n"
	c.reload(t)
	s.shows(t, "facts", "failed: the facts are ", "what is sensitive is denied", "bring the store back")
	s.answers(t, "with facts that are too old", http.StatusOK, http.StatusForbidden)
	c.settings = siteSettings
	c.reload(t)
	db.Start(t)
	s.well(t, "keys")
	s.answers(t, "with the database again", http.StatusOK, http.StatusOK)
	s.deliver(t)
	s.nothingLost(t)
}
