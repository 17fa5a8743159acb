package nats

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const nodeVariable = "STREAM_TEST_NODE"

// A node is a NATS server in a process of its own, so that it can be killed.
type node struct {
	Name   string
	Dir    string
	Client int      // port
	Peer   int      // port of the cluster; 0 means alone
	Peers  []string // route URLs of all

	cmd   *exec.Cmd
	stdin io.Closer
}

// runNode is the process of a node. It ends when its starter does.
func runNode(config string) error {
	var n node
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, JetStream: true, StoreDir: n.Dir, SyncAlways: true, JetStreamMaxStore: 1 << 40,
		MaxPayload: 4 << 20, NoSigs: true, DisableJetStreamBanner: true,
	}
	if n.Peer != 0 {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Peer}
		for _, p := range n.Peers {
			u, err := url.Parse(p)
			if err != nil {
				return err
			}
			o.Routes = append(o.Routes, u)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.SetLoggerV2(logger{slog.New(slog.DiscardHandler)}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return errors.New("the node did not start")
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return err
}

func (n *node) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Client) }

func (n *node) start(t *testing.T) {
	t.Helper()
	config, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+string(config))
	n.cmd.Stderr = os.Stderr
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("node %s said %q, %v", n.Name, line, err)
	}
}

// kill is kill -9.
func (n *node) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// freePorts returns ports that nobody uses now.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startNode starts one node alone.
func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{Name: "alone", Dir: t.TempDir(), Client: freePorts(t, 1)[0]}
	n.start(t)
	t.Cleanup(n.kill)
	return n
}

// startCluster starts three nodes that know each other.
func startCluster(t *testing.T) []*node {
	t.Helper()
	ports := freePorts(t, 6)
	var nodes []*node
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	for i := range 3 {
		n := &node{Name: fmt.Sprint("n", i+1), Dir: t.TempDir(), Client: ports[i], Peer: ports[3+i], Peers: peers}
		t.Cleanup(n.kill)
		n.start(t)
		nodes = append(nodes, n)
	}
	return nodes
}

func urls(nodes ...*node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.url())
	}
	return all
}

// eventually waits until ok, which a slow machine may take a while for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(90 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not happen", what)
		}
	}
}

func connect(t testing.TB, out Outside, set Settings) *Stream {
	t.Helper()
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Connect(t.Context(), out, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
