package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
)

// A moment is when a line is cut.
type moment int

const (
	never     moment = iota
	before           // COMMIT never reaches the server
	meanwhile        // COMMIT was sent; the server does not know yet that nobody listens
	after            // COMMIT was carried out, its answer is lost
)

// A line carries connections to PostgreSQL and is cut at the next COMMIT.
type line struct {
	socket string
	taker  net.Listener
	url    string

	mu   sync.Mutex // guards what follows
	cut  moment
	away bool // new connections are refused once it was cut, until mended
	shut bool
	cuts int
	ends []net.Conn
	wg   sync.WaitGroup
}

// through returns a line to an empty database.
func through(t *testing.T) *line {
	t.Helper()
	direct, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	taker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{
		socket: filepath.Join(direct.Query().Get("host"), ".s.PGSQL.5432"), taker: taker,
		url: fmt.Sprintf("postgres://%s@%s%s?sslmode=disable", direct.User.Username(), taker.Addr(), direct.Path),
	}
	l.wg.Go(l.take)
	t.Cleanup(func() {
		taker.Close()
		l.mu.Lock()
		for _, c := range l.ends {
			c.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

func (l *line) take() {
	for {
		client, err := l.taker.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", l.socket)
		l.mu.Lock()
		if err != nil || l.shut {
			client.Close()
			if err == nil {
				server.Close()
			}
			l.mu.Unlock()
			continue
		}
		l.ends = append(l.ends, client, server)
		l.mu.Unlock()
		c := &carried{line: l, client: client, server: server}
		l.wg.Go(c.ask)
		l.wg.Go(c.answer)
	}
}

// arm has the next COMMIT cut. With away nobody can connect afterwards.
func (l *line) arm(at moment, away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.away, l.cuts = at, away, 0
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = false
}

// due takes the cut that a COMMIT is to meet.
func (l *line) due() moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.cut
	if at != never {
		l.cut, l.shut = never, l.away
		l.cuts++
	}
	return at
}

func (l *line) wasCut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}

// A carried is one connection. Its protocol is frames: a byte for the kind, the
// length with itself, the rest.
type carried struct {
	line           *line
	client, server net.Conn

	mu      sync.Mutex // guards holding
	holding bool       // answers are held back: they are those to COMMIT
}

func (c *carried) hold(set bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = c.holding || set
	return c.holding
}

func (c *carried) end() {
	c.client.Close()
	c.server.Close()
}

func frame(from io.Reader, kind int) ([]byte, error) {
	head := make([]byte, kind+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[kind:])) - 4
	if n < 0 || n > 64<<20 {
		return nil, errors.New("no frame of the protocol")
	}
	f := append(head, make([]byte, n)...)
	_, err := io.ReadFull(from, f[len(head):])
	return f, err
}

// ask carries what the client says.
func (c *carried) ask() {
	commits := map[string]bool{} // names of prepared statements that commit
	first, at := 0, never        // the first frame has no kind
	for {
		f, err := frame(c.client, first)
		if err != nil {
			c.end()
			return
		}
		if first == 1 && at == never {
			words := bytes.SplitN(f[5:], []byte{0}, 3)
			switch f[0] {
			case 'P': // prepare: name, text
				commits[string(words[0])] = string(words[1]) == "COMMIT"
			case 'B': // run: portal, name
				if commits[string(words[1])] {
					at = c.line.due()
				}
			}
			if at == before {
				c.end()
				return
			}
			if at != never {
				c.hold(true)
			}
		}
		first = 1
		if _, err := c.server.Write(f); err != nil {
			c.end()
			return
		}
		if at == meanwhile && f[0] == 'S' { // all of it is on its way
			c.client.Close()
			return
		}
	}
}

// answer carries what the server says, up to a cut.
func (c *carried) answer() {
	for {
		f, err := frame(c.server, 1)
		if err != nil {
			c.end()
			return
		}
		if c.hold(false) {
			if f[0] == 'C' { // done
				c.client.Close()
			}
			continue
		}
		if _, err := c.client.Write(f); err != nil {
			c.end()
			return
		}
	}
}

// A witness compares what writers were told with what is there.
type witness struct {
	db    *store.DB
	mu    sync.Mutex
	heard []nhi.Change
}

func watch(t *testing.T, l *line, patience time.Duration) *witness {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Settings{URL: l.url, Settings: store.Settings{Patience: patience}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &witness{db: db}
	db.OnCommit(func(cs []nhi.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.heard = append(w.heard, cs...)
	})
	return w
}

// add adds one to a counter.
func (w *witness) add(ctx context.Context, name string) error {
	_, err := w.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Position(ctx, name)
		if err != nil {
			return err
		}
		if err := tx.SetPosition(ctx, name, n+1); err != nil {
			return err
		}
		return tx.Change("test", name, n+1)
	})
	return err
}

// holds wants a counter to stand at n, by n changes that the hooks heard once
// each.
func (w *witness) holds(t *testing.T, name string, n uint64) {
	t.Helper()
	var got uint64
	err := w.db.Read(t.Context(), func(tx *store.Tx) (err error) {
		got, err = tx.Position(t.Context(), name)
		return err
	})
	if err != nil || got != n {
		t.Errorf("%s is %d, %v; want %d", name, got, err, n)
	}
	changes, err := w.db.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	heard := slices.Clone(w.heard)
	w.mu.Unlock()
	for what, list := range map[string][]nhi.Change{"the database": changes, "the hooks": heard} {
		var values []string
		for i, c := range list {
			if c.Seq != nhi.Generation(i+1) {
				t.Errorf("%s: change %d has the number %d", what, i+1, c.Seq)
			}
			if c.Key == name {
				values = append(values, string(c.Payload))
			}
		}
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i+1))
		}
		if !slices.Equal(values, want) {
			t.Errorf("%s: %s counts %v, want %v", what, name, values, want)
		}
	}
}

// TestACommitWhoseAnswerIsCutIsLookedUp cuts the connection at COMMIT, before
// it reached the server and after it was carried out: the writer is told what
// became of it, and everybody who shared the transaction the same.
func TestACommitWhoseAnswerIsCutIsLookedUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   moment
		done bool
	}{{"before", before, false}, {"after", after, true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := through(t)
			w := watch(t, l, time.Minute)
			if err := w.add(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			want := uint64(1)
			for range 3 {
				l.arm(tt.at, false)
				err := w.add(t.Context(), "a")
				if l.wasCut() != 1 {
					t.Fatal("no COMMIT was cut")
				}
				if (err == nil) != tt.done || errors.Is(err, store.ErrUncertain) {
					t.Errorf("the writer was told %v", err)
				}
				if tt.done {
					want++
				}
				w.holds(t, "a", want)
				if err := w.add(t.Context(), "a"); err != nil {
					t.Errorf("the next write: %v", err)
				}
				want++
				w.holds(t, "a", want)
			}
		})
	}
}

// TestACommitThatIsCutMeanwhileIsNeitherDoubledNorLost cuts the connection when
// COMMIT is on its way, for writers that share it. The old session lives on at
// the server: whatever becomes of its commit, each writer is told just that.
func TestACommitThatIsCutMeanwhileIsNeitherDoubledNorLost(t *testing.T) {
	l := through(t)
	w := watch(t, l, time.Minute)
	const writers = 8
	var told [writers]uint64
	for range 5 {
		l.arm(meanwhile, false)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				switch err := w.add(t.Context(), fmt.Sprint("w", i)); {
				case err == nil:
					told[i]++
				case errors.Is(err, store.ErrUncertain):
					t.Errorf("the database was there to be asked: %v", err)
				}
			})
		}
		wg.Wait()
		if l.wasCut() != 1 {
			t.Fatal("no COMMIT was cut")
		}
		for i, n := range told {
			w.holds(t, fmt.Sprint("w", i), n)
		}
	}
}

// TestACommitThatNobodyCanLookUpIsSaidToBeUncertain keeps the database away
// after the cut. Who was told so finds the truth when it is back, and the hooks
// hear of it then.
func TestACommitThatNobodyCanLookUpIsSaidToBeUncertain(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   moment
		want uint64 // of two
	}{{"before", before, 1}, {"after", after, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			l := through(t)
			w := watch(t, l, 50*time.Millisecond)
			if err := w.add(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			l.arm(tt.at, true)
			if err := w.add(t.Context(), "a"); !errors.Is(err, store.ErrUncertain) || !errors.Is(err, nhi.ErrUnavailable) {
				t.Errorf("the writer was told %v, want that it is uncertain", err)
			}
			l.mend()
			wait(t, "the database to be back", func() bool { return w.add(t.Context(), "b") == nil })
			w.holds(t, "a", tt.want)
			w.holds(t, "b", 1)
		})
	}
}
