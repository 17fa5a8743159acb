package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
	"github.com/muster-id/muster/internal/stream/streamtest"
)

// A cluster takes seconds to start, so one serves all that needs one.
func TestOnAClusterOfThree(t *testing.T) {
	nodes := natstest.Cluster(t)
	s := connect(t, Outside{URLs: natstest.URLs(nodes...), Prefix: "first"}, Settings{})
	eventually(t, "a leader", func() bool { return s.Health() == nil })
	info, err := inner(t, s).Info(t.Context())
	if err != nil || info.Config.Replicas != 3 {
		t.Fatalf("the stream has %d copies, %v, want 3 by itself in a cluster", info.Config.Replicas, err)
	}
	c := cluster{nodes}
	t.Run("conformance", c.conformance)
	t.Run("durability", c.durability)
	t.Run("a killed leader loses nothing acknowledged and doubles nothing", c.leaderKilled)
	t.Run("a consumer goes on when the server it reads from is killed", c.readerKilled)
	t.Run("without quorum publishing is refused with what to do, and goes on when the servers are back", c.quorumLost)
}

type cluster struct{ nodes []*natstest.Node }

func (c cluster) outside(prefix string) Outside {
	return Outside{URLs: natstest.URLs(c.nodes...), Prefix: prefix, Replicas: 3}
}

func (c cluster) conformance(t *testing.T) {
	n := 0
	streamtest.Run(t, func(t *testing.T, set stream.Settings) stream.Stream {
		n++
		return connect(t, c.outside(fmt.Sprint("kit", n)), Settings{Settings: set})
	})
}

func (c cluster) durability(t *testing.T) {
	streamtest.RunDurable(t, func(t *testing.T, _ string) stream.Stream { return connect(t, c.outside("durable"), Settings{}) })
}

// named returns the node with that name.
func (c cluster) named(t *testing.T, name string) *natstest.Node {
	t.Helper()
	i := slices.IndexFunc(c.nodes, func(n *natstest.Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("no node is named %q", name)
	}
	return c.nodes[i]
}

func (c cluster) leader(t *testing.T, s *Stream) *natstest.Node {
	t.Helper()
	name := ""
	eventually(t, "a leader", func() bool {
		info, err := inner(t, s).Info(t.Context())
		if err == nil && info.Cluster != nil {
			name = info.Cluster.Leader
		}
		return name != ""
	})
	return c.named(t, name)
}

// whole waits until all copies are there again.
func (c cluster) whole(t *testing.T, s *Stream) {
	t.Helper()
	eventually(t, "a whole cluster", func() bool { return s.Health() == nil && s.Degraded() == "" })
}

// last is LastSeq after an election that may still be going on: whole can see
// the cluster a moment before its members have voted.
func (c cluster) last(t *testing.T, s *Stream, subject string) (seq uint64) {
	t.Helper()
	eventually(t, "an answer about the last message", func() bool {
		got, err := s.LastSeq(t.Context(), subject)
		if err != nil && !errors.Is(err, stream.ErrUnavailable) {
			t.Fatal(err)
		}
		seq = got
		return err == nil
	})
	return seq
}

func (c cluster) leaderKilled(t *testing.T) {
	s := connect(t, c.outside("killed"), Settings{})
	const publishers, rounds = 4, 2
	acknowledged := map[string]uint64{}
	refused := 0
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprint(p, "-", i)
				seq, _, err := s.Publish(ctx, stream.ActivityBatch, id, []byte("payload of "+id))
				for err != nil && ctx.Err() == nil { // as senders do
					if !errors.Is(err, stream.ErrUnavailable) {
						t.Errorf("Publish while a leader is elected = %v, want at most ErrUnavailable", err)
						return
					}
					mu.Lock()
					refused++
					mu.Unlock()
					seq, _, err = s.Publish(ctx, stream.ActivityBatch, id, []byte("payload of "+id))
				}
				if err != nil {
					return
				}
				mu.Lock()
				acknowledged[id] = seq
				mu.Unlock()
				select {
				case count <- struct{}{}:
				default:
				}
			}
		})
	}
	fresh := func(n int) {
		for range n {
			select {
			case <-count:
			case <-time.After(90 * time.Second):
				t.Fatal("publishing stands still")
			}
		}
	}
	for range rounds {
		fresh(100)
		victim := c.leader(t, s)
		start := time.Now()
		victim.Kill()
		fresh(3)
		t.Logf("acknowledged again %v after %s, the leader, was killed", time.Since(start).Round(time.Millisecond), victim.Name)
		fresh(100)
		victim.Start(t)
		c.whole(t, s)
	}
	cancel()
	wg.Wait()

	last := c.last(t, s, "")
	seen := map[string]uint64{}
	err := s.Consume(t.Context(), stream.Consumer{}, func(_ context.Context, m stream.Message) error {
		if string(m.Payload) != "payload of "+m.ID {
			t.Errorf("message %d with id %s holds %q", m.Seq, m.ID, m.Payload)
		}
		if other, ok := seen[m.ID]; ok {
			t.Errorf("%s is stored as %d and %d", m.ID, other, m.Seq)
		}
		if seen[m.ID] = m.Seq; m.Seq == last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for id, seq := range acknowledged {
		if seen[id] != seq {
			t.Errorf("%s was acknowledged as %d and is %d", id, seq, seen[id])
		}
	}
	t.Logf("%d messages acknowledged over %d kills, %d publishes refused and repeated", len(acknowledged), rounds, refused)
}

var errEnough = errors.New("enough")

func (c cluster) readerKilled(t *testing.T) {
	s := connect(t, c.outside("reader"), Settings{})
	c.whole(t, s)
	got := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		after := uint64(0)
		for ctx.Err() == nil { // as the learner does
			_ = s.Consume(ctx, stream.Consumer{After: after}, func(ctx context.Context, m stream.Message) error {
				if m.Seq != after+1 {
					t.Errorf("message %d follows %d", m.Seq, after)
				}
				after = m.Seq
				select {
				case got <- string(m.Payload):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}
	})
	expect := func(i int) {
		t.Helper()
		want := fmt.Sprint("message ", i)
		if _, _, err := s.Publish(t.Context(), stream.Change, "", []byte(want)); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-got:
			if p != want {
				t.Errorf("got %q, want %q", p, want)
			}
		case <-time.After(90 * time.Second):
			t.Fatal("the message did not come")
		}
	}
	expect(0)
	for i, victim := range []*natstest.Node{c.leader(t, s), c.connected(t, s)} {
		if !victim.Runs() {
			continue // both were the same
		}
		victim.Kill()
		expect(2*i + 1)
		victim.Start(t)
		c.whole(t, s)
		expect(2*i + 2)
	}
}

// connected returns the node that the client talks to.
func (c cluster) connected(t *testing.T, s *Stream) *natstest.Node {
	t.Helper()
	return c.named(t, s.conn.ConnectedServerName())
}

func (c cluster) quorumLost(t *testing.T) {
	s := connect(t, c.outside("quorum"), Settings{})
	c.whole(t, s)
	if _, _, err := s.Publish(t.Context(), stream.Change, "1", []byte("before")); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].Kill()
	eventually(t, "a word about who is away", func() bool {
		got := s.Degraded()
		return strings.Contains(got, "2 of 3 servers run") && strings.Contains(got, `start "n1"`)
	})
	if _, _, err := s.Publish(t.Context(), stream.Change, "2", []byte("with two")); err != nil {
		t.Errorf("with two of three Publish = %v", err)
	}

	c.nodes[1].Kill()
	_, _, err := s.Publish(t.Context(), stream.Change, "3", []byte("without quorum"))
	if !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("without quorum Publish = %v, want ErrUnavailable", err)
	}
	eventually(t, "failed", func() bool { return s.Health() != nil })
	if err := s.Health(); !errors.Is(err, stream.ErrUnavailable) || !strings.Contains(err.Error(), "no quorum: 1 of 3 servers") || !strings.Contains(err.Error(), "start") {
		t.Errorf("without quorum Health = %v, want what is away and what to do", err)
	}

	c.nodes[0].Start(t)
	c.nodes[1].Start(t)
	c.whole(t, s)
	for _, id := range []string{"1", "2", "3"} { // whoever was not answered repeats
		eventually(t, "publishing", func() bool {
			_, _, err := s.Publish(t.Context(), stream.Change, id, []byte("again"))
			return err == nil
		})
	}
	last := c.last(t, s, stream.Change)
	var ids []string
	err = s.Consume(t.Context(), stream.Consumer{}, func(_ context.Context, m stream.Message) error {
		if ids = append(ids, m.ID); m.Seq == last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || !slices.Equal(ids, []string{"1", "2", "3"}) {
		t.Errorf("the stream holds %q, %v, want each message once", ids, err)
	}
}
