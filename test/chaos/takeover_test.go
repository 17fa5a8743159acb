package chaos

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
)

// A wire is the network between a point and its server.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex // guards what follows
	open     map[net.Conn]bool
	dark     bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, open: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.carry(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut(true)
		serving.Wait()
	})
	return w
}

func (w *wire) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer out.Close()
	w.mu.Lock()
	if w.dark {
		w.mu.Unlock()
		return
	}
	w.open[in], w.open[out] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	both.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, in)
	delete(w.open, out)
}

// cut ends every connection, and with dark the next ones too.
func (w *wire) cut(dark bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dark = dark
	for c := range w.open {
		_ = c.Close()
	}
}

// TestAServerThatTakesOverWaitsForTheLeasesOfTheOneThatWasKilled has a second
// machine take over a database in PostgreSQL from one that was killed, while a
// point that holds a lease of the first cannot be reached. What the second
// acknowledges to be contained is allowed at that point no more.
func TestAServerThatTakesOverWaitsForTheLeasesOfTheOneThatWasKilled(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, true)
	db.Create(t, "muster")
	first := newChild(t)
	first.env = []string{"MUSTER_STORE_URL=" + db.URL("muster")}
	first.start(t)
	api := first.operator(t)
	send := func(method, path string, in, out any) {
		t.Helper()
		if err := api.Send(t.Context(), method, path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	for name, body := range map[string]string{
		"resources.yaml": "- {id: money, environment: production, sensitivity: 2}\n",
		"routes.yaml":    "- {host: branch.example, path: /money, methods: {GET: read}, resource: money}\n",
	} {
		if err := api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
			t.Fatal(err)
		}
	}
	var point, forum client.Enrolled
	send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "branch"}, &point)
	send(http.MethodPatch, "/v1/points/branch", client.SetPoint{Mode: new("enforce")}, nil)
	send(http.MethodPost, "/v1/sources", client.AddSource{Name: "forum", Format: "text"}, &forum)
	var keys [2]client.NewCredential
	for i, name := range []string{"clerk", "cashier"} {
		var who client.Identity
		send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: name, Environment: "production", Owner: "team:branch"}, &who)
		send(http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &keys[i])
	}
	w := newWire(t, strings.TrimPrefix(first.url, "http://"))
	b := &branch{child: *newChild(t), server: "http://" + w.listener.Addr().String(), key: point.Key, caller: keys[0].Key}
	b.start(t)
	b.until(t, "/money", http.StatusOK, "")

	second := newChild(t)
	second.env, second.url = first.env, first.url // the address moves with the work
	hand(t, first, second)
	standby := &child{data: second.data, env: first.env, url: "http://" + free(t), ops: second.ops}
	refusesToStart(t, standby, "database")

	w.cut(true)
	first.kill(t)
	second.start(t)
	contained := make(chan error, 1)
	go func() {
		_, err := second.as(t, forum.Key).ReceiveText(t.Context(), "text/plain", strings.NewReader("look what I found: "+keys[0].Key))
		contained <- err
	}()
	before := 0
	for waiting := true; waiting; {
		select {
		case err := <-contained:
			if err != nil {
				t.Fatal(err)
			}
			waiting = false
		default:
			if status, _, _ := b.ask(t, "/money"); status == http.StatusOK {
				before++
			}
			<-time.After(5 * time.Millisecond) // leave the processor to others
		}
	}
	for range 20 {
		if status, id, why := b.ask(t, "/money"); status != http.StatusForbidden {
			t.Fatalf("a contained key is answered %d (%s) after the second server acknowledged that, want 403: %s\n%s", status, id, why, b.out)
		}
	}
	t.Logf("%d requests were allowed by the lease of the server that was killed, none after the acknowledgement", before)

	// The second server does the work of the first.
	w.cut(false)
	b.caller = keys[1].Key
	b.until(t, "/money", http.StatusOK, "")
	b.caller = keys[0].Key
	b.until(t, "/money", http.StatusForbidden, "")
	b.stop(t)
	second.stop(t)
}

// hand puts onto a new machine what an installation must not lose: its key file.
func hand(t *testing.T, from, to *child) {
	t.Helper()
	keys, err := os.ReadFile(filepath.Join(from.data, "keys.json"))
	if err == nil {
		err = os.MkdirAll(to.data, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to.data, "keys.json"), keys, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
